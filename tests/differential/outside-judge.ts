/**
 * A program from outside the project that reads converted images and makes their devices: the judge that `ACCEL_STACKS_JUDGE`
 * names, as a shell command. It runs once for many images, since interpreters start slowly: it reads lines of an OCI layout's
 * folder, a tag and a file to write, separated by tabs, and answers each by a line: `ok` once the file is the block device of that
 * image, else what is wrong. A program that takes them as arguments is
 *
 *   while read -r layout tag out; do PROGRAM "$layout" "$tag" "$out" >&2 && echo ok || echo failed; done
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { BLOCK_SIZE } from '../../formats/ext4/layout.ts';
import { LAYER_ANNOTATION } from '../../formats/overlaybd/annotations.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { encodeJson } from '../../oci/manifest.ts';
import type { MemoryTarget } from '../../oci/memory-target.ts';
import type { DeviceBlocks } from '../support/device-blocks.ts';
import { blobPath, type LayoutManifest } from '../support/oci-layout.ts';

/** Images that wait for the judge at most. */
const MOST_WAITING = 8;
/** Bytes of a device that are compared at a time. */
const PIECE = 1 << 20;
const ZEROS = Buffer.alloc(BLOCK_SIZE);

interface Waiting {
  readonly name: string;
  readonly file: string;
  /** A folder to remove with it, where it is the last of its layout. */
  readonly folder: string | undefined;
  readonly blocks: DeviceBlocks;
  readonly done: Promise<void>;
  settle(): void;
}

/** Hands images to the judge, and compares its devices. */
export class OutsideJudge {
  readonly #directory: string;
  readonly #size: number;
  readonly #process: ChildProcess;
  readonly #waiting: Waiting[] = [];
  readonly #complaints: string[] = [];
  #count = 0;

  /** Starts the command; works in a directory that is the caller's. Devices have `size` bytes. */
  constructor(command: string, directory: string, size: number) {
    this.#directory = directory;
    this.#size = size;
    this.#process = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#process.stdout! }).on('line', (line) => this.#answer(line));
    this.#process.on('close', () => this.#end());
    // A judge that ended shows by its images: it answers none of them.
    this.#process.stdin!.on('error', () => undefined);
  }

  /** Images that were read so far. */
  get count(): number {
    return this.#count;
  }

  /** Images of which the judge made another device or none since the last call, each as its name and what is wrong. */
  takeComplaints(): string[] {
    return this.#complaints.splice(0);
  }

  /** Queues the images of some tags, all of one device; waits only while too many are in the queue. */
  async add(name: string, { target, tags, blocks }: JudgedImages): Promise<void> {
    while (this.#waiting.length >= MOST_WAITING) await this.#waiting[0]!.done;
    const folder = join(this.#directory, name);
    await writeLayout(target, tags, folder);
    for (const [i, tag] of tags.entries()) {
      const file = join(folder, `device-${i}`);
      let settle = (): void => undefined;
      const done = new Promise<void>((resolve) => {
        settle = resolve;
      });
      const last = i === tags.length - 1 ? folder : undefined;
      this.#waiting.push({ name: `${name}: ${tag}`, file, folder: last, blocks, done, settle });
      if (this.#process.exitCode === null) this.#process.stdin!.write(`${folder}\t${tag}\t${file}\n`);
      else this.#end();
    }
  }

  /** Waits for all that is queued. */
  async finish(): Promise<void> {
    await this.#waiting.at(-1)?.done;
  }

  /** Ends the program. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const closed = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.stdin!.end();
    await closed;
  }

  #answer(line: string): void {
    const one = this.#waiting.shift();
    if (one === undefined) return;
    const problem = line === 'ok' ? this.#compare(one) : line;
    if (problem !== undefined) this.#complaints.push(`${one.name}: ${problem}`);
    this.#count++;
    rmSync(one.folder ?? one.file, { recursive: true, force: true });
    one.settle();
  }

  #end(): void {
    for (const { name, settle } of this.#waiting.splice(0)) {
      this.#complaints.push(`${name}: the judge ended before it said anything`);
      settle();
    }
  }

  /** Says where the judge's device is another. */
  #compare({ file, blocks }: Waiting): string | undefined {
    const { size } = statSync(file);
    if (size !== this.#size) return `a device of ${size} bytes instead of ${this.#size}`;
    const piece = Buffer.alloc(PIECE);
    const fd = openSync(file, 'r');
    try {
      for (let offset = 0; offset < size; offset += PIECE) {
        readSync(fd, piece, 0, PIECE, offset);
        for (let at = 0; at < PIECE; at += BLOCK_SIZE) {
          const number = (offset + at) / BLOCK_SIZE;
          if (piece.compare(blocks.get(number) ?? ZEROS, 0, BLOCK_SIZE, at, at + BLOCK_SIZE) !== 0)
            return `block ${number} of its device differs`;
        }
      }
    } finally {
      closeSync(fd);
    }
    return undefined;
  }
}

/** Images of one device, and where they are. */
export interface JudgedImages {
  readonly target: MemoryTarget;
  readonly tags: readonly string[];
  readonly blocks: DeviceBlocks;
}

/** Writes the images of some tags as an OCI layout, with the layers that index-only ones refer to. */
async function writeLayout(target: MemoryTarget, tags: readonly string[], folder: string): Promise<void> {
  const copy = async (descriptor: Descriptor): Promise<Uint8Array> => {
    const bytes = await target.fetchRange(descriptor, 0, descriptor.size);
    const path = blobPath(folder, descriptor.digest);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    return bytes;
  };
  const manifests: object[] = [];
  for (const tag of tags) {
    const named = await target.resolve(tag);
    const { config, layers } = JSON.parse(Buffer.from(await copy(named)).toString('utf8')) as LayoutManifest;
    for (const descriptor of [config, ...layers]) {
      await copy(descriptor);
      const source = descriptor.annotations?.[LAYER_ANNOTATION.targetDigest];
      if (source !== undefined) await copy(await target.resolve(source));
    }
    manifests.push({ ...named, annotations: { 'org.opencontainers.image.ref.name': tag } });
  }
  writeFileSync(join(folder, 'index.json'), encodeJson({ schemaVersion: 2, manifests }));
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}
