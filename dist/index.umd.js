"use strict";(()=>{var _e=Object.create;var K=Object.defineProperty;var ke=Object.getOwnPropertyDescriptor;var Te=Object.getOwnPropertyNames;var Re=Object.getPrototypeOf,Ne=Object.prototype.hasOwnProperty;var Se=(e,t)=>()=>{try{return t||e((t={exports:{}}).exports,t),t.exports}catch(n){throw t=0,n}};var Pe=(e,t,n,r)=>{if(t&&typeof t=="object"||typeof t=="function")for(let a of Te(t))!Ne.call(e,a)&&a!==n&&K(e,a,{get:()=>t[a],enumerable:!(r=ke(t,a))||r.enumerable});return e};var P=(e,t,n)=>(n=e!=null?_e(Re(e)):{},Pe(t||!e||!e.__esModule?K(n,"default",{value:e,enumerable:!0}):n,e));var T=Se((Qe,U)=>{U.exports=window.React});var ge=P(T(),1);var g=P(T(),1),Ce={recoil:["useRecoilValue"],__fos__:["modalLooker","nullableModalSampleId","refresher","ModalMode","useModalMode"],__foo__:["usePanelEvent"],__fosp__:["Layout","usePanelId","useSpaces"],__fop__:["PluginComponentType","registerComponent"]},y=window;function j(){let e=window;return Object.entries(Ce).flatMap(([t,n])=>n.filter(r=>e[t]?.[r]==null).map(r=>`${t}.${r}`))}function q(e,t){y.__fop__.registerComponent({name:e,label:e,component:t,type:y.__fop__.PluginComponentType.Component,activator:()=>!0})}function W(){return y.recoil.useRecoilValue(y.__fos__.nullableModalSampleId)??null}function X(){return y.recoil.useRecoilValue(y.__fos__.refresher)}function J(){let e=y.recoil.useRecoilValue(y.__fos__.modalLooker),t=y.__fos__.useModalMode()===y.__fos__.ModalMode.ANNOTATE;return g.useMemo(()=>t?{player:null,problem:"Annotate mode has a player of its own, which this panel can neither follow nor steer. Switch to Explore to see the trees in step with the video."}:e?Me(e)?{player:e,problem:null}:{player:null,problem:"This version of FiftyOne does not let panels follow or steer the video (needs FiftyOne 1.22)."}:{player:null,problem:null},[e,t])}function Me(e){return typeof e.seekToFrame=="function"&&typeof e.subscribeToState=="function"&&typeof e.addEventListener=="function"&&typeof e.frameNumber=="number"}function E(e){let[t,n]=g.useState(e?.frameNumber??null);return g.useEffect(()=>{if(!e){n(null);return}let r=()=>n(e.frameNumber);r();let a=e.subscribeToState("frameNumber",r);return e.addEventListener("load",r),()=>{a(),e.removeEventListener("load",r)}},[e]),t}function Q(e){let t=y.__fosp__.usePanelId(),n=y.__foo__.usePanelEvent(),r=g.useRef({panelId:t,trigger:n});return r.current={panelId:t,trigger:n},g.useCallback(a=>new Promise(i=>{r.current.trigger(r.current.panelId,{operator:e,params:a,callback:({result:l,error:d,errorMessage:s})=>(i(d?{error:String(s??d)}:l),!1)})}),[e])}function Y(e){let{spaces:t}=y.__fosp__.useSpaces("fiftyone-modal-spaces");g.useEffect(()=>{let n=Z(t.root,e),r=n?.parent,a=r?.children.some(i=>i.type==="fo-sample-modal-plugin");n&&r&&a&&t.canSplitLayout(r)&&t.splitLayout(r,y.__fosp__.Layout.Horizontal,n)},[])}function Z(e,t){if(e.type===t)return e;for(let n of e.children){let r=Z(n,t);if(r)return r}}var o=P(T(),1);var u=P(T(),1);var R=e=>typeof e=="object"&&e!==null?e:{},ee=e=>Array.isArray(e)?e:[],h=e=>typeof e=="string"&&e.trim()!==""?e:null,A=e=>typeof e=="number"?e:Number.NaN;function te(e){let t=R(e),n=h(t.error);if(n)return{error:n};let[r,a,i]=[t.fps,t.frames,t.duration].map(A);return!(r>0)||!(a>0)||!(i>0)?{error:"The answer from Python lacks the video's frame rate or length."}:{title:h(t.title)??"",fps:r,frames:a,duration:i,trees:ee(t.trees).map(Ee)}}function Ee(e){let t=R(e),n=ee(t.nodes).map(Ae).filter(ze),r=new Map,a=[];for(let l of n.sort((d,s)=>d.level-s.level||d.start-s.start)){for(;a.length<=l.level;)a.push([]);if(a[l.level].push(l),l.parent_id!==null){let d=r.get(l.parent_id);d?d.push(l):r.set(l.parent_id,[l])}}let i=h(t.name)??"";return{name:i,label:h(t.label)??i,fromLabels:t.source==="labels",byId:new Map(n.map(l=>[l.node_id,l])),children:r,levels:a,end:n.reduce((l,d)=>Math.max(l,d.end),0)}}function Ae(e){let t=R(e),n=R(t.gpt),[r,a]=[R(n.summary),R(n.action)];return{node_id:h(t.node_id)??"",parent_id:h(t.parent_id),level:A(t.level),start:A(t.start),end:A(t.end),plm_action:h(t.plm_action),plm_caption:h(t.plm_caption),llama3_caption:h(t.llama3_caption),gpt:t.gpt?{summary:{brief:h(r.brief),detailed:h(r.detailed)},action:{brief:h(a.brief),detailed:h(a.detailed),actor:h(a.actor)}}:null}}function ze(e){return e.node_id!==""&&Number.isInteger(e.level)&&e.level>=0&&e.level<200&&e.end>e.start}function ne(e,t){return Math.min(Math.max(Math.round(e*t.fps)+1,1),t.frames)}function re(e,t){return(e-1)/t}function ae(e,t,n){return e.levels.flatMap(r=>r.filter(a=>Math.round(a.start*n)+1<=t&&t<=Math.round(a.end*n)))}function k(e,t=0){let n=10**t,r=Math.round(e*n),a=Math.floor(r/(60*n)),i=(r%(60*n)/n).toFixed(t).padStart(t?t+3:2,"0");return a<60?`${a}:${i}`:`${Math.floor(a/60)}:${String(a%60).padStart(2,"0")}:${i}`}var Oe=[.1,.2,.5,1,2,5,10,15,30,60,120,300,600,1800,3600,7200];function oe(e,t,n=64){if(!(e>0)||!(t>0))return[];let r=Oe.find(i=>i/e*t>=n)??Math.ceil(e/7200)*7200,a=Math.floor(e/r+1e-9);return Array.from({length:a+1},(i,l)=>({time:l*r,label:k(l*r,r<1?1:0)}))}function le(e,t){return V(e.end,t)?e.levels.flat().filter(n=>n.start>=t.duration).length:0}function V(e,t){return e-t.duration>4/t.fps}function $(e,t,n,r=null){let a=[],i=-1;for(let l of e){if(l.start>=t)continue;let d=l.start/t*n,s=Math.min(l.end,t)/t*n;if(s-d<1&&s<i+1&&l.node_id!==r)continue;let b=Math.max(s-d,1);a.push({node:l,x:d,width:b,cut:l.end>t}),i=d+b}return a}function ie(e,t){return Math.min(Math.max(Math.floor(e/Math.max(t,1)),16),28)}function se(e,t,n,r){let a=e.levels[t.level]??[],l={ArrowLeft:a[a.indexOf(t)-1],ArrowRight:a[a.indexOf(t)+1],ArrowUp:t.parent_id===null?void 0:e.byId.get(t.parent_id),ArrowDown:e.children.get(t.node_id)?.[0]}[n];return l&&l.start<r?l:null}function de(e,t){return t.parent_id===null?"root":e.children.has(t.node_id)?"mid":"leaf"}function I(e){let t=e.gpt?.action.brief;return(t!=="N/A"?t:null)??e.plm_action??e.gpt?.summary.brief??e.plm_caption??e.llama3_caption??"No caption"}function F(e){return`${I(e)}, ${e.start.toFixed(2)} to ${e.end.toFixed(2)} s`}function ce(e){let{summary:t,action:n}=e.gpt??{};return[["Action","gpt.action.brief",n?.brief],["Action in detail","gpt.action.detailed",n?.detailed],["Actor","gpt.action.actor",n?.actor],["Summary","gpt.summary.brief",t?.brief],["Summary in detail","gpt.summary.detailed",t?.detailed],["Clip action","plm_action",e.plm_action],["Clip caption","plm_caption",e.plm_caption],["Frame caption","llama3_caption",e.llama3_caption]].flatMap(([a,i,l])=>l?[{heading:a,field:i,text:l}]:[])}var pe=u.memo(function({video:t,tree:n,node:r}){if(!n||!r)return u.createElement("section",{className:"details","aria-label":"Details"},u.createElement("p",{className:"hint"},"Click a segment to go there and read its captions. ",u.createElement("kbd",null,"\u2190")," ",u.createElement("kbd",null,"\u2192")," move in time,"," ",u.createElement("kbd",null,"\u2191")," ",u.createElement("kbd",null,"\u2193")," to the parent and the first child, ",u.createElement("kbd",null,"Enter")," seeks."));let a=ce(r),i=(r.end-r.start).toFixed(2);return u.createElement("section",{className:"details","aria-label":"Details","aria-live":"polite"},u.createElement("p",{className:"facts"},u.createElement("strong",null,n.label),u.createElement("span",{"data-testid":"details-time"},k(r.start,2)," \u2013 ",k(r.end,2)),u.createElement("span",null,i," s"),u.createElement("span",null,"level ",r.level),u.createElement("span",null,de(n,r)),r.start>=t.duration&&u.createElement("span",{className:"warning"},"after the clip\u2019s end")),a.length===0&&u.createElement("p",{className:"hint"},"This segment has no captions."),u.createElement("dl",null,a.map(({heading:l,field:d,text:s})=>u.createElement(u.Fragment,{key:d},u.createElement("dt",{title:d},l),u.createElement("dd",{"data-field":d},s)))))});var f=P(T(),1);function ue({tree:e,scale:t,selected:n,player:r,fps:a,onSelect:i,onSeek:l}){let d=f.useRef(null),s=f.useRef(!1);f.useEffect(()=>{s.current&&(s.current=!1,d.current?.querySelector("[aria-selected=true]")?.focus())},[n]);let b=p=>{let m=p.target.closest("[data-node-id]");return m?e.byId.get(m.dataset.nodeId??""):void 0},x=p=>{let m=b(p);m&&(i(e,m),l(m))},v=p=>{let m=b(p);if(!(!m||p.altKey||p.ctrlKey||p.metaKey)){if(p.key==="Enter")i(e,m),l(m);else if(p.key.startsWith("Arrow")){let _=se(e,m,p.key,t.span);_&&(s.current=!0,i(e,_))}else return;p.preventDefault(),p.stopPropagation()}};return f.createElement("div",{ref:d,className:"icicle",role:"tree","aria-label":e.label,"data-tree":e.name,style:{height:e.levels.length*t.rowHeight},onClick:x,onKeyDown:v},e.levels.map((p,m)=>f.createElement(Le,{key:m,nodes:p,level:m,scale:t,selected:n?.level===m?n.node_id:null,focusable:n?.node_id??e.levels[0]?.[0]?.node_id??null})),f.createElement(Ve,{tree:e,scale:t,player:r,fps:a}))}function me(e,{rowHeight:t,depth:n}){return{top:e*t,height:t,"--depth":n?(e/n).toFixed(3):0,"--line":`${t-1}px`}}function fe({x:e,width:t}){return{left:e,width:t>4?t-1:t}}var Le=f.memo(function({nodes:t,level:n,scale:r,selected:a,focusable:i}){let l=f.useMemo(()=>$(t,r.span,r.width,a),[t,r,a]);return f.createElement("div",{className:"row",role:"none",style:me(n,r)},l.map(d=>{let{node:s,width:b,cut:x}=d;return f.createElement("div",{key:s.node_id,className:x?"bar cut":"bar",role:"treeitem","aria-label":F(s),"aria-level":n+1,"aria-selected":s.node_id===a,tabIndex:s.node_id===i?0:-1,"data-node-id":s.node_id,title:F(s),style:fe(d)},b>=30?I(s):null)}))});function Ve({tree:e,scale:t,player:n,fps:r}){let a=E(n);return a===null?null:f.createElement("div",{className:"path","aria-hidden":"true"},ae(e,a,r).map(i=>f.createElement("div",{key:i.node_id,className:"row",style:me(i.level,t)},$([i],t.span,t.width).map(l=>f.createElement("div",{key:i.node_id,className:"active","data-active-node":i.node_id,style:fe(l)})))))}var ye=`/* Colours of surfaces and text are the App's own variables; the levels run from indigo to green. */
.a100m {
  --bar-text: hsl(0 0% 100% / 0.94);
  --ring: hsl(0 0% 100% / 0.9);
  --glow: hsl(0 0% 100% / 0.2);
  --hatch: hsl(0 0% 100% / 0.07);
  --veil: hsl(0 0% 6% / 0.45);
  box-sizing: border-box;
  display: flex;
  flex-direction: column;
  height: 100%;
  min-height: 0;
  color: var(--fo-palette-text-primary);
  background: var(--fo-palette-background-level2);
  font-size: 13px;
  line-height: 1.45;
  container: a100m / size;
}
[data-mui-color-scheme="light"] .a100m {
  --bar-text: hsl(225 35% 16%);
  --ring: hsl(225 40% 22% / 0.85);
  --glow: hsl(225 60% 30% / 0.16);
  --hatch: hsl(0 0% 0% / 0.08);
  --veil: hsl(0 0% 98% / 0.5);
}
.a100m *,
.a100m *::before {
  box-sizing: border-box;
}
.a100m h2,
.a100m p,
.a100m dl,
.a100m dd {
  margin: 0;
}
.a100m h2 {
  font-size: 14px;
  font-weight: 600;
}
.a100m button,
.a100m select {
  flex: none;
  padding: 3px 10px;
  border: 1px solid var(--fo-palette-divider);
  border-radius: 4px;
  color: inherit;
  background: var(--fo-palette-background-button);
  font: inherit;
  font-size: 12px;
  cursor: pointer;
}
.a100m select {
  padding: 2px 6px;
  font-weight: 600;
}
.a100m button:hover,
.a100m select:hover {
  border-color: var(--fo-palette-text-tertiary);
}
.a100m button.quiet {
  border-color: transparent;
  color: var(--fo-palette-text-secondary);
  background: none;
}
.a100m button.quiet:hover {
  color: var(--fo-palette-text-primary);
}
.a100m :is(button, select, .bar):focus-visible {
  outline: 2px solid var(--fo-palette-primary-main);
  outline-offset: 1px;
}

/* Instead of the trees */
.a100m .message {
  display: flex;
  flex-direction: column;
  align-items: center;
  gap: 12px;
  margin: auto;
  max-width: 46ch;
  padding: 24px;
  color: var(--fo-palette-text-secondary);
  text-align: center;
  overflow-wrap: anywhere;
}
.a100m .message h2 {
  color: var(--fo-palette-text-primary);
}
.a100m .spinner {
  width: 22px;
  height: 22px;
  border: 2px solid var(--fo-palette-divider);
  border-top-color: var(--fo-palette-primary-main);
  border-radius: 50%;
  animation: a100m-spin 0.9s linear infinite;
}
@keyframes a100m-spin {
  to {
    transform: rotate(1turn);
  }
}

/* Above the trees */
.a100m header {
  display: flex;
  align-items: center;
  gap: 8px;
  padding: 8px 8px 6px 12px;
}
.a100m header h2 {
  flex: 1;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}
.a100m .note {
  display: flex;
  align-items: center;
  justify-content: space-between;
  gap: 12px;
  margin: 0 12px 6px;
  padding: 5px 6px 5px 10px;
  border-left: 3px solid var(--fo-palette-warning-main);
  border-radius: 3px;
  color: var(--fo-palette-text-secondary);
  background: var(--fo-palette-background-level1);
  font-size: 12px;
}

/* The trees */
.a100m .columns {
  display: flex;
  flex: 1;
  flex-direction: column;
  min-height: 0;
}
.a100m .timeline {
  flex: 3 1 0;
  min-width: 0;
  min-height: 0;
  overflow: hidden auto;
  scrollbar-gutter: stable;
}
.a100m .canvas {
  position: relative;
  padding-bottom: 8px;
}
.a100m .ruler {
  position: sticky;
  z-index: 3;
  top: 0;
  height: 38px;
  border-bottom: 1px solid var(--fo-palette-divider);
  color: var(--fo-palette-text-secondary);
  background: var(--fo-palette-background-level2);
  font-size: 11px;
  font-variant-numeric: tabular-nums;
  cursor: pointer;
  overflow: hidden;
}
.a100m .ruler span {
  position: absolute;
  bottom: 0;
  padding: 0 0 2px 4px;
  border-left: 1px solid var(--fo-palette-text-tertiary);
  line-height: 15px;
  pointer-events: none;
}
.a100m .heading {
  display: flex;
  align-items: center;
  gap: 6px;
  height: 30px;
  font-size: 12px;
  white-space: nowrap;
}
.a100m .heading .size {
  margin-left: auto;
  overflow: hidden;
  color: var(--fo-palette-text-secondary);
  text-overflow: ellipsis;
}
.a100m .icicle {
  position: relative;
  overflow: hidden;
  user-select: none;
}
.a100m .row {
  /* --depth runs from 0 at the root to 1 at the deepest level */
  --bar: hsl(calc(236 - 90 * var(--depth)) 34% calc(41% - 6% * var(--depth)));
  position: absolute;
  left: 0;
  right: 0;
}
[data-mui-color-scheme="light"] .a100m .row {
  --bar: hsl(calc(236 - 90 * var(--depth)) calc(60% - 16% * var(--depth)) 82%);
}
.a100m .bar,
.a100m .active {
  position: absolute;
  top: 0;
  bottom: 1px;
  border-radius: 2px;
}
.a100m .bar {
  color: var(--bar-text);
  background: var(--bar);
  font-size: 11px;
  line-height: var(--line);
  text-indent: 5px;
  white-space: nowrap;
  text-overflow: ellipsis;
  overflow: hidden;
  cursor: pointer;
}
.a100m .bar:hover {
  filter: brightness(1.16);
}
.a100m .bar.cut {
  border-radius: 2px 0 0 2px;
  mask-image: linear-gradient(to left, transparent, #000 14px);
}
.a100m .path {
  pointer-events: none;
}
.a100m .active {
  background: var(--glow);
  box-shadow: inset 0 0 0 1px var(--ring);
}
.a100m .bar[aria-selected="true"] {
  z-index: 1;
  min-width: 3px;
  outline: 2px solid var(--fo-palette-primary-main);
  outline-offset: -2px;
}
.a100m .beyond {
  position: absolute;
  z-index: 2;
  top: 38px;
  right: 0;
  bottom: 0;
  border-left: 1px dashed var(--fo-palette-warning-main);
  background: repeating-linear-gradient(-45deg, var(--hatch) 0 4px, transparent 4px 9px), var(--veil);
  pointer-events: none;
}
.a100m .playhead {
  position: absolute;
  z-index: 4;
  top: 0;
  bottom: 0;
  left: -1px;
  width: 2px;
  background: var(--fo-palette-primary-main);
  pointer-events: none;
}
.a100m .playhead output {
  position: sticky;
  top: 0;
  display: block;
  width: max-content;
  padding: 0 6px;
  border-radius: 0 3px 3px 0;
  color: var(--fo-palette-primary-contrastText);
  background: var(--fo-palette-primary-main);
  font-size: 11px;
  font-variant-numeric: tabular-nums;
  line-height: 17px;
}
.a100m .playhead.left output {
  border-radius: 3px 0 0 3px;
  transform: translateX(calc(-100% + 2px));
}

/* The selected node */
.a100m .details {
  flex: 2 1 0;
  min-width: 0;
  min-height: 0;
  padding: 10px 12px 16px;
  border-top: 1px solid var(--fo-palette-divider);
  background: var(--fo-palette-background-card, var(--fo-palette-background-level1));
  overflow: auto;
}
.a100m .facts {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 0;
  color: var(--fo-palette-text-secondary);
  font-size: 12px;
  font-variant-numeric: tabular-nums;
}
.a100m .facts > * + *::before {
  content: "\xB7";
  margin: 0 7px;
  color: var(--fo-palette-text-tertiary);
}
.a100m .facts strong {
  color: var(--fo-palette-text-primary);
}
.a100m .facts .warning {
  color: var(--fo-palette-warning-main);
}
.a100m .hint {
  color: var(--fo-palette-text-secondary);
}
.a100m kbd {
  padding: 0 5px;
  border: 1px solid var(--fo-palette-divider);
  border-radius: 3px;
  font: inherit;
  font-size: 11px;
}
.a100m dl {
  display: grid;
  grid-template-columns: max-content 1fr;
  gap: 6px 14px;
  margin-top: 10px;
}
.a100m dt {
  color: var(--fo-palette-text-secondary);
  font-size: 12px;
  line-height: 19px;
}
.a100m dd {
  max-width: 80ch;
  overflow-wrap: anywhere;
  white-space: pre-line;
}

/* A panel that is wider than high has its details at the side; a narrow one stacks their headings. */
@container a100m (min-aspect-ratio: 3 / 2) {
  .a100m .columns {
    flex-direction: row;
  }
  .a100m .details {
    border-top: 0;
    border-left: 1px solid var(--fo-palette-divider);
  }
}
@container a100m (max-width: 380px) {
  .a100m dl {
    grid-template-columns: 1fr;
  }
}
`;function be({schema:e}){Y("tree_of_captions");let t=W(),{answer:n,reload:r}=Fe(e.view.get_trees,t);return o.createElement("div",{className:"a100m","data-testid":"tree-of-captions"},o.createElement("style",null,ye),o.createElement(De,{key:t,answer:n,reload:r}))}var N=new Map,Ie=20;function Fe(e,t){let n=Q(e),r=X(),[a,i]=o.useState(0),[l,d]=o.useState(null),s=`${r} ${a}`,b=o.useRef(s);o.useEffect(()=>{if(b.current!==s&&(b.current=s,N.clear()),t===null)return;let v=N.get(t);if(v){d({sampleId:t,answer:v});return}let p=!0;return n({sample_id:t}).then(m=>{let _=te(m);if(!("error"in _)){let[S]=N.keys();S!==void 0&&N.size>=Ie&&N.delete(S),N.set(t,_)}p&&d({sampleId:t,answer:_})}),()=>{p=!1}},[n,t,s]);let x=o.useCallback(()=>{d(null),i(v=>v+1)},[]);return{answer:l?.sampleId===t?l.answer:null,reload:x}}function De({answer:e,reload:t}){return e===null?o.createElement("div",{className:"message",role:"status"},o.createElement("span",{className:"spinner"})," Loading the trees\u2026"):"error"in e?o.createElement("div",{className:"message",role:"alert"},o.createElement("h2",null,"The trees could not be loaded"),o.createElement("p",null,e.error),o.createElement("button",{type:"button",onClick:t},"Retry")):e.trees.every(n=>n.byId.size===0)?o.createElement("div",{className:"message",role:"status"},o.createElement("h2",null,"No trees yet"),o.createElement("p",null,"Make one for this video with the operator ",o.createElement("code",null,"annotate_videos"),", or load Action100M\u2019s annotations into the dataset."),o.createElement("button",{type:"button",onClick:t},"Look again")):o.createElement(He,{video:e,reload:t})}var D="ground_truth";function He({video:e,reload:t}){let{player:n,problem:r}=J(),[a,i]=o.useState(null),[l,d]=o.useState(!1),[s,b]=o.useState(null),x=e.trees.filter(c=>c.name!==D),v=x.find(c=>c.name===a)??x[0],p=e.trees.filter(c=>c.name===D||c===v),m=p.filter(c=>V(c.end,e)),[_,S]=We(),C=l?Math.max(e.duration,...p.map(c=>c.end)):e.duration,xe=p.reduce((c,w)=>c+w.levels.length,0),B=Math.max(...p.map(c=>c.levels.length-1)),G=ie(S.height-Be-p.length*Ge,xe),M=Math.max(S.width-2*he,0),z=o.useMemo(()=>({span:C,width:M,rowHeight:G,depth:B}),[C,M,G,B]),ve=o.useCallback((c,w)=>b({tree:c.name,node:w}),[]),O=o.useCallback(c=>n?.seekToFrame(ne(c,e)),[n,e]),we=o.useCallback(c=>O(c.start),[O]),L=p.find(c=>c.name===s?.tree)??null;return o.createElement(o.Fragment,null,o.createElement("header",null,o.createElement("h2",{title:e.title},e.title),o.createElement("button",{type:"button",className:"quiet",title:"Read the trees again",onClick:t},"Reload")),r&&o.createElement("p",{className:"note",role:"status"},r),m.length>0&&o.createElement("p",{className:"note",role:"note"},o.createElement("span",null,Ue(m,e,l)),o.createElement("button",{type:"button",onClick:()=>d(!l)},l?"Show the clip only":"Show all")),o.createElement("div",{className:"columns"},o.createElement("div",{className:"timeline",ref:_},o.createElement("div",{className:"canvas",style:{marginInline:he,width:M}},o.createElement(je,{scale:z,onSeek:O}),p.map(c=>o.createElement(o.Fragment,{key:c.name},o.createElement("div",{className:"heading"},c.name!==D&&"Run",c===v&&x.length>1?o.createElement("select",{"aria-label":"Run",value:c.name,onChange:w=>i(w.target.value)},x.map(w=>o.createElement("option",{key:w.name,value:w.name},w.label))):o.createElement("strong",null,c.label),o.createElement("span",{className:"size"},Ke(c))),o.createElement(ue,{tree:c,scale:z,selected:c===L&&s?s.node:null,player:n,fps:e.fps,onSelect:ve,onSeek:we}))),C>e.duration&&o.createElement("div",{className:"beyond",style:{left:e.duration/C*M}}),o.createElement(qe,{player:n,fps:e.fps,scale:z}))),o.createElement(pe,{video:e,tree:L,node:L&&s?s.node:null})))}var he=12,Be=38,Ge=30;function Ke(e){let t=`${e.byId.size} ${e.byId.size===1?"segment":"segments"}`,n=`${e.levels.length} ${e.levels.length===1?"level":"levels"}`;return`${t}, ${n}${e.fromLabels?", rebuilt from labels":""}`}function Ue(e,t,n){let r=e.map(a=>{let i=le(a,t),l=`${i} ${i===1?"segment":"segments"}`;return`${a.label} goes on to ${k(a.end)}${n?"":` (${l} not shown)`}`});return`This clip ends at ${k(t.duration)}. ${r.join(", ")}.`}var je=o.memo(function(t){let{span:n,width:r}=t.scale;return o.createElement("div",{className:"ruler","aria-hidden":"true",onClick:i=>{let{left:l}=i.currentTarget.getBoundingClientRect();t.onSeek((i.clientX-l)/r*n)}},oe(n,r).map(({time:i,label:l})=>o.createElement("span",{key:l,style:{left:i/n*r}},l)))});function qe(e){let t=E(e.player);if(t===null)return null;let n=re(t,e.fps),{span:r,width:a}=e.scale,i=n/r*a;return o.createElement("div",{className:i>a/2?"playhead left":"playhead","data-testid":"playhead","data-time":n.toFixed(3),style:{transform:`translateX(${i}px)`}},o.createElement("output",null,k(n,1)))}function We(){let e=o.useRef(null),[t,n]=o.useState({width:0,height:0});return o.useLayoutEffect(()=>{if(!e.current)return;let r=new ResizeObserver(([a])=>{a&&n({width:a.contentRect.width,height:a.contentRect.height})});return r.observe(e.current),()=>r.disconnect()},[]),[e,t]}var H=j();function Xe(){return ge.createElement("p",{role:"alert",style:{padding:24}},"The Tree-of-Captions panel needs FiftyOne 1.22. This App lacks ",H.join(", "),".")}try{q("TreeOfCaptionsView",H.length?Xe:be)}catch(e){console.error("The Tree-of-Captions panel cannot run in this App. It lacks",H,e)}})();
