import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: "test/support/properties.ts",
    globalSetup: "test/support/global-setup.ts",
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Tests start processes, models and databases of their own: more at once than cores only makes them wait.
    maxWorkers: 2,
  },
});
