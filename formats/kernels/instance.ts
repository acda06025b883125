/** Starting a kernel: synchronous, about a millisecond, one instance a thread and a caller. */

/** A WebAssembly memory that several threads may have at once: in messages it stays the same memory. */
export interface KernelMemory {
  readonly buffer: SharedArrayBuffer;
}

/** What accel uses of the WebAssembly global, which the types of Node do not declare. */
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number; shared: true }) => KernelMemory;
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: object };
};

const PAGE = 65_536;

const modules = new Map<string, object>();

/** Memory of at least `bytes`, up to 256 MiB. It never grows; what is never touched of it costs address space alone. */
export function makeKernelMemory(bytes: number): KernelMemory {
  const pages = Math.ceil(bytes / PAGE);
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** A fresh instance of a kernel of wasm.ts, given as base64, in `memory`. `E` declares what it exports. */
export function instantiate<E extends object>(base64: string, memory: KernelMemory): E {
  let module = modules.get(base64);
  if (module === undefined) {
    module = new WebAssembly.Module(Buffer.from(base64, 'base64'));
    modules.set(base64, module);
  }
  return new WebAssembly.Instance(module, { env: { memory } }).exports as E;
}
