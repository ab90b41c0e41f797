import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: "test/support/properties.ts",
    globalSetup: "test/support/global-setup.ts",
    testTimeout: 30_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } }, // a machine that is busy is not a finding
    // Tests start processes, models and databases of their own: more at once than cores only makes them wait.
    maxWorkers: 2,
  },
});
