/** Starting a kernel: synchronous, about a millisecond, one instance a thread and a caller. */

/** A WebAssembly memory that several threads may have at once: in messages it stays the same memory. */
export interface KernelMemory {
  readonly buffer: SharedArrayBuffer;
}

/** A WebAssembly memory of one thread. */
export interface OwnKernelMemory {
  readonly buffer: ArrayBuffer;
}

/** The part of the WebAssembly global that accel uses, which the types of Node do not declare. */
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => { readonly buffer: ArrayBufferLike };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { readonly exports: object };
};

const PAGE = 65_536;

const modules = new Map<string, object>();

/** Memory of at least `bytes`, up to 256 MiB. It never grows; what is never touched of it costs address space alone. */
export function makeKernelMemory(bytes: number): KernelMemory {
  return makeMemory(bytes, true) as KernelMemory;
}

/** {@link makeKernelMemory} that is not shared: V8 counts it, and collects it in time however many are made. */
export function makeOwnKernelMemory(bytes: number): OwnKernelMemory {
  return makeMemory(bytes, false) as OwnKernelMemory;
}

function makeMemory(bytes: number, shared: boolean): { readonly buffer: ArrayBufferLike } {
  const pages = Math.ceil(bytes / PAGE);
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
}

/** A fresh instance of a kernel of wasm.ts, given as base64, in a memory of its kind. `E` declares what it exports. */
export function instantiate<E extends object>(base64: string, memory: KernelMemory | OwnKernelMemory): E {
  let module = modules.get(base64);
  if (module === undefined) {
    module = new WebAssembly.Module(Buffer.from(base64, 'base64'));
    modules.set(base64, module);
  }
  return new WebAssembly.Instance(module, { env: { memory } }).exports as E;
}
