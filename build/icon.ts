/** Draws assets/icon.png: a face of a few plain shapes in the corners of a viewfinder. Run by hand after a change. */
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";

/** What app directories ask for. */
const SIDE = 512;

const corner = (turn: number) =>
  `<path d="M92 176 V132 a40 40 0 0 1 40 -40 H176" transform="rotate(${turn} 256 256)"/>`;

const svg = `
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 512 512" width="${SIDE}" height="${SIDE}">
  <rect width="512" height="512" rx="112" fill="#12343b"/>
  <g fill="none" stroke="#7fd1c0" stroke-width="24" stroke-linecap="round">
    ${[0, 90, 180, 270].map(corner).join("\n    ")}
  </g>
  <path d="M256 132 c66 0 108 48 108 114 c0 80 -50 138 -108 138 c-58 0 -108 -58 -108 -138 c0 -66 42 -114 108 -114 z"
    fill="#f4efe2"/>
  <g fill="#12343b">
    <circle cx="214" cy="226" r="15"/>
    <circle cx="298" cy="226" r="15"/>
  </g>
  <path d="M218 306 l28 28 l50 -50" fill="none" stroke="#e2725b" stroke-width="24" stroke-linecap="round"
    stroke-linejoin="round"/>
</svg>`;

const folder = fileURLToPath(new URL("../assets/", import.meta.url));
await mkdir(folder, { recursive: true });
await sharp(Buffer.from(svg)).png({ compressionLevel: 9, palette: true }).toFile(`${folder}icon.png`);
