import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { callOptions, photo, refusal, setUp, told } from "./setting.ts";

/** A real proxy that opens tunnels, or refuses them with a status. */
async function startProxy(refuseWith?: number) {
  const tunnels: { target: string; authorization: string | undefined }[] = [];
  const server: Server = createServer((_, response) => response.writeHead(501).end());
  server.on("connect", ({ url = "", headers }, socket, head) => {
    tunnels.push({ target: url, authorization: headers["proxy-authorization"] });
    socket.on("error", () => {});
    if (refuseWith !== undefined) {
      socket.end(`HTTP/1.1 ${refuseWith} No\r\n\r\n`);
      return;
    }
    const [host = "", port = ""] = url.split(":");
    const target = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      target.write(head);
      target.pipe(socket).pipe(target);
    });
    target.on("error", () => socket.destroy());
    socket.on("close", () => target.destroy());
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, tunnels };
}

test("calls go through the proxy, which gets its own credentials and nothing else", async () => {
  const proxy = await startProxy();
  const { api } = await setUp();
  const { provider } = await setUp({
    baseUrl: api.url,
    proxy: { url: `http://name:pass%20word@${proxy.address}`, noProxy: "other.example" },
  });
  expect(await provider.checkLiveness(await photo(), callOptions)).toMatchObject({ verdict: "approved" });
  expect(proxy.tunnels).toEqual([{ target: new URL(api.url).host, authorization: `Basic ${btoa("name:pass word")}` }]);
  expect(api.received[0]?.headers).not.toHaveProperty("proxy-authorization");
});

test.each(["127.0.0.1", "*", "other.example, 127.0.0.1"])("%s in no_proxy goes past it", async (noProxy) => {
  const proxy = await startProxy();
  const { api } = await setUp();
  const { provider } = await setUp({ baseUrl: api.url, proxy: { url: `http://${proxy.address}`, noProxy } });
  expect(await provider.checkLiveness(await photo(), callOptions)).toMatchObject({ verdict: "approved" });
  expect(proxy.tunnels).toEqual([]);
  expect(api.received).toHaveLength(1);
});

test("without a proxy in the options none is used, whatever the environment says", async () => {
  const proxy = await startProxy();
  vi.stubEnv("HTTP_PROXY", `http://${proxy.address}`);
  vi.stubEnv("HTTPS_PROXY", `http://${proxy.address}`);
  onTestFinished(() => void vi.unstubAllEnvs());
  const { provider } = await setUp();
  await provider.checkLiveness(await photo(), callOptions);
  expect(proxy.tunnels).toEqual([]);
});

test.each([403, 407, 502])(
  "a proxy that refuses (HTTP %i) is named as the reason, without its password",
  async (status) => {
    const proxy = await startProxy(status);
    const { api } = await setUp();
    const { provider } = await setUp({ baseUrl: api.url, proxy: { url: `http://name:password@${proxy.address}` } });
    const error = await refusal(provider.checkLiveness(await photo(), callOptions));
    expect(error).toMatchObject({ code: "unavailable" });
    expect(told(error)).toContain("proxy");
    expect(told(error) + error.cause).not.toContain("password");
    expect(api.received).toHaveLength(0);
  },
);

test("an abort through the proxy closes the connection to the service", async () => {
  const proxy = await startProxy();
  const { api } = await setUp();
  const { provider } = await setUp({ baseUrl: api.url, proxy: { url: `http://${proxy.address}` }, timeoutMs: 300 });
  api.always({ hang: true });
  expect(await refusal(provider.checkLiveness(await photo(), callOptions))).toMatchObject({ code: "no_answer" });
  expect(await api.received[0]?.abandoned).toBe(true);
  expect(api.received).toHaveLength(1);
});

test("400 calls at once through the proxy are all answered", async () => {
  const proxy = await startProxy();
  const { api } = await setUp();
  const { provider } = await setUp({ baseUrl: api.url, proxy: { url: `http://${proxy.address}` } });
  const image = await photo();
  const reports = await Promise.all(Array.from({ length: 400 }, () => provider.checkLiveness(image, callOptions)));
  expect(new Set(reports.map(({ reference }) => reference)).size).toBe(400);
  expect(proxy.tunnels.length).toBeLessThanOrEqual(128);
}, 30_000);
