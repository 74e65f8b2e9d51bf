import { expect, test } from "vitest";
import { readSettings } from "./settings";

test("settings that an older panel stored, or nobody did, give a panel that works", () => {
  for (const stored of [null, 7, "text", {}, { filters: null }, { filters: { tiers: 3 } }]) {
    const settings = readSettings(stored);
    expect(settings.colourBy).toBe("level");
    expect(settings.filters.tiers).toEqual(["root", "mid", "leaf"]);
  }
});

test("settings are read back as they were stored", () => {
  const settings = readSettings({
    upper: "a",
    lower: "",
    colourBy: "actor",
    follow: false,
    filters: { maxLevel: 3, tiers: ["leaf", "nonsense"], minDuration: 2, flaggedOnly: true },
  });
  expect(settings).toEqual({
    upper: "a",
    lower: "",
    colourBy: "actor",
    follow: false,
    filters: { maxLevel: 3, tiers: ["leaf"], minDuration: 2, flaggedOnly: true },
  });
  expect(readSettings(JSON.parse(JSON.stringify(settings)))).toEqual(settings);
});
