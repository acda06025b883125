/**
 * e2fsck for thousands of small devices: a process of its own for each would be most of the work if each were waited for,
 * so they queue as sparse files, and one shell after another checks a batch while the next stacks are converted.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type DeviceBlocks, writeDevice } from '../support/device-blocks.ts';
import { requireTool, run } from '../support/tools.ts';
import { DEVICE_SIZE } from './convert-stack.ts';

/** Devices in a batch: 40 files of some hundred kilobytes. */
const BATCH = 40;

/** Checks each file of a directory's batch; prints the names of those that are not clean, and deletes them all. */
const CHECK = `
cd "$2"
for f in *; do "$1" -fn "$f" >/dev/null 2>&1 || echo "$f"; done
rm -f -- *
`;

/** Collects devices under a name of the caller's; the names must be fit for files. */
export class DeviceJudge {
  readonly #directory: string;
  #batch: { readonly name: string; readonly blocks: DeviceBlocks }[] = [];
  #running: Promise<void> = Promise.resolve();
  readonly #unsound: string[] = [];
  #checked = 0;

  /** Works in a directory that is the caller's to make and to remove. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Names of devices that e2fsck has something to say about. */
  get unsound(): readonly string[] {
    return this.#unsound;
  }

  /** Queues a device; waits only while a batch before is still being checked. */
  async add(name: string, blocks: DeviceBlocks): Promise<void> {
    this.#batch.push({ name, blocks });
    if (this.#batch.length < BATCH) return;
    await this.#running;
    this.#start();
  }

  /** Checks what is left, and waits for all. */
  async finish(): Promise<void> {
    await this.#running;
    this.#start();
    await this.#running;
  }

  #start(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    const directory = join(this.#directory, `batch-${this.#checked}`);
    mkdirSync(directory);
    for (const { name, blocks } of batch) writeDevice(join(directory, name), blocks, DEVICE_SIZE);
    this.#checked += batch.length;
    this.#running = run('sh', ['-c', CHECK, 'sh', requireTool('e2fsck'), directory]).then(({ stdout }) => {
      this.#unsound.push(...stdout.toString('utf8').split('\n').filter(Boolean));
    });
    // Awaited before the next batch; until then a failure is no unhandled one.
    this.#running.catch(() => undefined);
  }
}
