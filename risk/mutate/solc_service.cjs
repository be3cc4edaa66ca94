// A compiler that stays: one process, one WebAssembly instance, many compilations. The second one of
// a kind takes a fraction of the first, because the engine has optimised the code by then.
//
//   node solc_service.cjs SOLJSON     reads one request a line, writes one answer a line
//
// {"load": {name: text}}            keeps the sources, answers {"loaded": n}
// {"compile": {"names": [name], "override": {name: text}, "settings": {...}}}
//                                   standard-JSON output of these sources; `override` replaces kept
//                                   texts for this one compilation
//
// Ends when its input does.
"use strict";

const fs = require("fs");
const readline = require("readline");

const solc = require(process.argv[2]);
const kept = new Map();

/** Copies bytes to the compiler's heap, NUL terminated; returns the address. */
function toHeap(bytes) {
  const address = solc._solidity_alloc(bytes.length + 1);
  if (!address) throw new Error(`out of memory for ${bytes.length} bytes`);
  solc.HEAPU8.set(bytes, address); // read HEAPU8 after the allocation: growth replaces it
  solc.HEAPU8[address + bytes.length] = 0;
  return address;
}

/** Every source is in the input: an import that is not is an error. */
const callback = solc.addFunction((_context, _kind, _data, _contents, error) => {
  solc.setValue(error, toHeap(Buffer.from("not among the sources")), "*");
}, "viiiii");

/** One compilation: standard-JSON text. `_solidity_reset` frees all that it allocated. */
function compile({ names, override, settings }) {
  const sources = {};
  for (const name of names) {
    sources[name] = { content: name in override ? override[name] : kept.get(name) };
  }
  const input = Buffer.from(JSON.stringify({ language: "Solidity", sources, settings }));
  const address = solc._solidity_compile(toHeap(input), callback, 0);
  const end = solc.HEAPU8.indexOf(0, address);
  const output = Buffer.from(solc.HEAPU8.subarray(address, end)).toString("utf8");
  solc._solidity_reset();
  return output.trimEnd();
}

/** The answer to one request, as JSON text without a line break. */
function answer(request) {
  if (request.load) {
    for (const [name, text] of Object.entries(request.load)) kept.set(name, text);
    return JSON.stringify({ loaded: kept.size });
  }
  return compile(request.compile);
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  let text;
  try {
    text = answer(JSON.parse(line));
  } catch (error) {
    text = JSON.stringify({ failed: String(error) });
  }
  fs.writeSync(1, `${text.length === 0 ? "{}" : text}\n`);
});
