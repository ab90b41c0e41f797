/**
 * Stands in for what the MCP SDK picks by runtime (`@modelcontextprotocol/server/_shims`). Its choice for Node is
 * Ajv, a third of the whole bundle, which every start would parse; this server validates no JSON Schema by it.
 */
import process from "node:process";

export { CfWorkerJsonSchemaValidator as DefaultJsonSchemaValidator } from "@modelcontextprotocol/server/validators/cf-worker";
export { process };
