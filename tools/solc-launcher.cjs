// A stand-in for the native `solc` command, around the WebAssembly build of the npm package
// `solc`. Brownie (through py-solc-x) and forge start it like the native compiler:
//
//   solc --version                                   prints the version in solc's own format
//   solc --standard-json [--allow-paths a,b] [--base-path p] [--include-path p]... < in > out
//
// Differences from `solcjs`: the input goes through the WebAssembly *heap*. The package's own
// wrapper puts it on the WebAssembly stack and dies above about 1.3 MB of JSON.
//
// Imports that are not in the JSON are read from disk: absolute, then relative to the base
// path, the include paths, the allowed paths and the working directory. As in native solc, only
// files below one of those folders are read. Remappings are applied by the compiler itself.
"use strict";

const fs = require("fs");
const path = require("path");

/** Prints `message` on stderr and ends with exit code 1. */
function fail(message) {
  fs.writeSync(2, `solc launcher: ${message}\n`);
  process.exit(1);
}

/** First existing compiler file: next to this script (installed copy), then in node_modules. */
function findCompiler() {
  const places = [
    process.env.PLUMBLINE_SOLJSON,
    path.join(__dirname, "soljson.js"),
    path.join(__dirname, "..", "node_modules", "solc", "soljson.js"),
  ];
  const found = places.find((p) => p && fs.existsSync(p));
  if (!found) fail("no soljson.js found; run `make setup` in the checkout");
  return found;
}

/** Compiler version such as `0.8.37+commit.f401782d.Emscripten.clang`. */
function version() {
  const cached = path.join(__dirname, "version.txt");
  if (fs.existsSync(cached)) return fs.readFileSync(cached, "utf8").trim();
  const solc = require(findCompiler());
  return solc.UTF8ToString(solc._solidity_version());
}

/** Command line -> {mode, roots}; flags that have no meaning here are accepted and ignored. */
function parse(argv) {
  const roots = [];
  const flags = [];
  let mode = "";
  const take = (list) => list.split(",").filter(Boolean).forEach((p) => roots.push(path.resolve(p)));
  for (let i = 0; i < argv.length; i++) {
    const [flag, inline] = argv[i].split(/=(.*)/s);
    switch (flag) {
      case "--version":
      case "--standard-json":
      case "--license":
      case "--help":
        mode = mode || flag;
        break;
      case "--allow-paths":
      case "--base-path":
      case "--include-path":
        take(inline !== undefined ? inline : argv[++i] || "");
        break;
      case "-":
        break;
      default:
        flags.push(argv[i]);
    }
  }
  return { mode, roots, flags };
}

/**
 * Import callback: file text below one of `roots`, or a reason. The path as written must lie
 * inside a root; a symbolic link (such as a linked node_modules) may then lead elsewhere.
 */
function makeReader(roots) {
  const bases = [...new Set([...roots, process.cwd()])];
  const inside = (p) => bases.some((r) => p === r || p.startsWith(r.endsWith(path.sep) ? r : r + path.sep));
  return (name) => {
    const plain = name.replace(/^file:\/\//, "");
    for (const file of bases.map((b) => path.resolve(b, plain))) {
      if (!fs.existsSync(file) || !fs.statSync(file).isFile()) continue;
      if (!inside(file)) return { error: `File outside of allowed directories: ${file}` };
      return { contents: fs.readFileSync(file, "utf8") };
    }
    return { error: `File not found. Searched the following locations: ${bases.join(", ")}.` };
  };
}

/** Copies bytes to the compiler's heap, NUL terminated; returns the address. */
function toHeap(solc, bytes) {
  const address = solc._solidity_alloc(bytes.length + 1);
  if (!address) fail(`out of memory for ${bytes.length} bytes`);
  solc.HEAPU8.set(bytes, address); // read HEAPU8 after the allocation: growth replaces it
  solc.HEAPU8[address + bytes.length] = 0;
  return address;
}

/** NUL-terminated bytes at `address`. */
function fromHeap(solc, address) {
  const end = solc.HEAPU8.indexOf(0, address);
  return Buffer.from(solc.HEAPU8.subarray(address, end));
}

/** Standard JSON bytes in, standard JSON bytes out. */
function compile(input, roots) {
  const solc = require(findCompiler());
  const read = makeReader(roots);
  const callback = solc.addFunction((_context, kind, data, contents, error) => {
    const answer =
      solc.UTF8ToString(kind) === "source"
        ? read(solc.UTF8ToString(data))
        : { error: "SMT queries are not supported" };
    for (const [text, slot] of [[answer.contents, contents], [answer.error, error]]) {
      if (typeof text === "string") solc.setValue(slot, toHeap(solc, Buffer.from(text)), "*");
    }
  }, "viiiii");
  return fromHeap(solc, solc._solidity_compile(toHeap(solc, input), callback, 0));
}

/** Writes everything to stdout, also to a slow pipe. */
function emit(bytes) {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (e) {
      if (e.code === "EPIPE") process.exit(1);
      if (e.code !== "EAGAIN") throw e;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

function main() {
  const { mode, roots, flags } = parse(process.argv.slice(2));
  if (mode === "--version") {
    emit(Buffer.from(`solc, the solidity compiler commandline interface\nVersion: ${version()}\n`));
  } else if (mode === "--license") {
    const solc = require(findCompiler());
    emit(Buffer.from(solc.UTF8ToString(solc._solidity_license()) + "\n"));
  } else if (mode === "--standard-json") {
    const files = flags.filter((f) => !f.startsWith("-"));
    const input = fs.readFileSync(files.length ? files[0] : 0);
    emit(compile(input, roots));
    emit(Buffer.from("\n"));
  } else {
    const usage = "usage: solc --version | --license | --standard-json [--allow-paths LIST] < input";
    if (mode === "--help") emit(Buffer.from(usage + "\n"));
    else fail(`only --version, --license and --standard-json are supported\n${usage}`);
  }
}

main();
