/**
 * `@hpcc-js/wasm-zstd` in bundles: its WebAssembly as it is. The package carries it compressed by zstd and written in base 91,
 * which JavaScript takes 40 ms to undo in each thread, longer than a small image takes to compress.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'esbuild';
import { deflateSync } from 'fflate';

const NAME = '@hpcc-js/wasm-zstd';
/** The package's assignment of what it decodes to the variable that keeps it; the build fails where it is not there once. */
const DECODED = /(\w+)\?\?=\w+\(\w+\(\w+\)\)/g;

/** The package's module. */
const PACKAGE = fileURLToPath(import.meta.resolve(NAME));

/** The part of WebAssembly by which the package gives away what it decoded; the types of Node have no values for it. */
interface Compiler {
  instantiate: (bytes: Uint8Array, imports: unknown) => Promise<unknown>;
}

/** The WebAssembly of the package, as the package itself decodes it. */
export async function zstdWasm(): Promise<Uint8Array> {
  const compiler = (globalThis as unknown as { readonly WebAssembly: Compiler }).WebAssembly;
  const { instantiate } = compiler;
  let wasm: Uint8Array | undefined;
  compiler.instantiate = (bytes, imports) => {
    wasm = bytes;
    return instantiate(bytes, imports);
  };
  try {
    const { Zstd } = await import('@hpcc-js/wasm-zstd');
    // It keeps what it loaded before, and decodes nothing then.
    await Zstd.unload();
    await Zstd.load();
  } finally {
    compiler.instantiate = instantiate;
  }
  if (wasm === undefined) throw new Error(`${NAME} has no WebAssembly that it hands to WebAssembly.instantiate`);
  return wasm;
}

/** Lets `bytes`, an expression, take the place of the WebAssembly in the bundled package. */
export function zstdFrom(bytes: string): Plugin {
  return {
    name: 'zstd',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^@hpcc-js\/wasm-zstd$/ }, () => ({ path: PACKAGE }));
      onLoad({ filter: /wasm-zstd[\\/]dist[\\/]index\.js$/ }, () => {
        const code = readFileSync(PACKAGE, 'utf8');
        const found = [...code.matchAll(DECODED)];
        if (found.length !== 1) throw new Error(`${NAME} is another inside: adapt scripts/zstd-package.ts`);
        return { contents: code.replace(DECODED, (_, variable: string) => `${variable}??=${bytes}`) };
      });
    },
  };
}

/** The same for bundles that have no files beside them. fflate packs it: its bytes are the same on every Node. */
export async function zstdInside(): Promise<Plugin> {
  const packed = Buffer.from(deflateSync(await zstdWasm(), { level: 9 })).toString('base64');
  return zstdFrom(`require('node:zlib').inflateRawSync(Buffer.from('${packed}','base64'))`);
}
