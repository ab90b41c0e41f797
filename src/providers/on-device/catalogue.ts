import SHIPPED from "./shipped.json" with { type: "json" };

// Packs that a user can add by name. None of their networks is part of the program, and none is fetched but by
// `models add`. Each entry is a whole pack.json: `source` is pinned to a commit, and what comes from there is checked.

const [CLOSE] = SHIPPED.liveness.networks;

interface Entry {
  readonly name: string;
  /** As in any pack.json. */
  readonly [field: string]: unknown;
}

export const CATALOGUE: readonly Entry[] = [
  {
    ...SHIPPED,
    name: "shipped-suri",
    about:
      "The shipped pack, whose liveness check asks a second network (MiniFASNetV2-SE kind, face-antispoof-onnx) instead of the shipped one a second time.",
    figures: [
      "Liveness on 161 spoofs and 291 live full frames that chose nothing: AUC 0.967; at 50, spoofs passed 10 %, live people refused 9 %. The shipped pack on the same frames: 0.933, 12 %, 14 %.",
      "The part of them from a source of its own (18 spoofs, 140 live): AUC 0.986; the shipped pack 0.912.",
      "Paper masks and cut-outs pass it as they pass the shipped pack.",
    ],
    liveness: {
      ...SHIPPED.liveness,
      networks: [
        CLOSE,
        {
          file: "suri_minifas_v2se_128.onnx",
          bytes: 1_912_594,
          sha256: "af2381b88f38769222ed93379e12444e2a50814575de1c46170de570c55a42b6",
          licence: "Apache-2.0, as its repository declares",
          trainingData:
            "its authors report a test on CelebA-Spoof and name no other set; the terms for weights trained on it were not verified, and CelebA itself is for non-commercial research only",
          source:
            "https://raw.githubusercontent.com/johnraivenolazo/face-antispoof-onnx/2b9830bb0eccafddcf0abcedf5c6ad506f0a1142/models/best/98.20/best_model.onnx",
          crop: { shape: "square-reflect", factor: 2.2 },
          input: { width: 128, height: 128, order: "rgb", mean: 0, scale: 255 },
          output: "output",
          live: 0,
        },
      ],
    },
  },
];
