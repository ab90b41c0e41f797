import fc from "fast-check";

// At a desk every run of a property tries other values; what lands is judged by the same ones each time.
if (process.env["CI"] !== undefined) fc.configureGlobal({ seed: 20_261_121 });
