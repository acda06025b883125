/** Starting a kernel: synchronous, about a millisecond, one instance a thread and a caller. */

/** What accel uses of the WebAssembly global, which the types of Node do not declare. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: object };
};

/** What every kernel exports: its memory, whose buffer never moves because it starts at its maximum. */
export interface KernelExports {
  readonly memory: { readonly buffer: ArrayBuffer };
}

const modules = new Map<string, object>();

/** A fresh instance of a kernel of wasm.ts, given as base64. `E` declares what it exports. */
export function instantiate<E extends KernelExports>(base64: string): E {
  let module = modules.get(base64);
  if (module === undefined) {
    module = new WebAssembly.Module(Buffer.from(base64, 'base64'));
    modules.set(base64, module);
  }
  return new WebAssembly.Instance(module, {}).exports as E;
}
