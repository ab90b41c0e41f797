// The page of a host: shows a view in a frame and speaks with it by the official bridge. Bundled by host.ts.
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

/** What the view sent, beside what the bridge answers by itself. */
globalThis.received = [];

globalThis.show = async ({ url, hostContext, border }) => {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.title = "view";
  if (border) frame.className = "border";
  document.body.replaceChildren(frame);
  addEventListener("message", ({ source, data }) => {
    if (source === frame.contentWindow) globalThis.received.push(data);
  });
  const bridge = new AppBridge(null, { name: "test-host", version: "1.0.0" }, {}, { hostContext });
  bridge.addEventListener("sizechange", ({ height }) => {
    frame.style.height = `${height}px`;
  });
  const ready = new Promise((done) => {
    bridge.addEventListener("initialized", done);
  });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = url;
  await ready;
  await bridge.sendToolInput({ arguments: {} });
  globalThis.bridge = bridge;
};
