/** The program of a worker thread: what it does is its role (messages.ts). */
import { createHash } from 'node:crypto';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { packWindow } from '../../formats/gzip/access-points.ts';
import { GzipStream } from '../../formats/gzip/stream.ts';
import { makeBlockCompressor, type SyncBlockCompressor } from '../../formats/zfile/compressor.ts';
import { digestOfFile } from './digest-file.ts';
import { OUTPUT_READERS } from './gunzip-thread.ts';
import {
  type CompanionReply,
  type CompanionRequest,
  type GunzipReply,
  type GunzipRequest,
  type NumberedRequest,
  type PoolReply,
  toPlain,
  type WorkerRole,
} from './messages.ts';
import { SlotRing } from './shared-slots.ts';

const port = parentPort!;
const role = workerData as WorkerRole;

if (role.role === 'jobs') serveJobs();
else if (role.role === 'gunzip') gunzip(new SlotRing(role.input), new SlotRing(role.output), role.companion);
else accompany(new SlotRing(role.output), role.gunzip);

function serveJobs(): void {
  const compressors = new Map<string, Promise<SyncBlockCompressor>>();
  const say = (reply: PoolReply): void => port.postMessage(reply);
  port.on('message', async (request: NumberedRequest) => {
    const { id } = request;
    try {
      if (request.type === 'digest') {
        say({ id, type: 'digest', digest: await digestOfFile(request.path) });
        return;
      }
      const { algorithm, blockSize, level } = request;
      const key = `${algorithm} ${blockSize} ${level}`;
      const compressor = compressors.get(key) ?? makeBlockCompressor(algorithm, blockSize, level);
      compressors.set(key, compressor);
      const { bytes, lengths } = (await compressor).compress(request.bytes, request.into);
      say({ id, type: 'compress', length: bytes.length, lengths });
    } catch (error) {
      say({ id, type: 'error', error: toPlain(error) });
    }
  });
}

const NO_WINDOW = new Uint8Array(0);

function gunzip(input: SlotRing, output: SlotRing, companion: MessagePort): void {
  const say = (reply: GunzipReply): void => port.postMessage(reply);
  const tell = (request: CompanionRequest, transfer: ArrayBuffer[] = []): void =>
    companion.postMessage(request, transfer);
  let stream: GzipStream | undefined;
  const onOutput = (bytes: Uint8Array): void => {
    for (let from = 0; from < bytes.length; from += output.size) {
      // Waits until both readers have let go of it: so a stream that inflates a thousandfold takes no more memory.
      output.waitUntilFree();
      const piece = bytes.subarray(from, from + output.size);
      output.free.set(piece);
      const slot = output.publish(OUTPUT_READERS);
      say({ type: 'output', slot, length: piece.length });
      tell({ type: 'output', slot, length: piece.length });
    }
  };
  const packAside = (window: Uint8Array): Uint8Array => {
    const bytes = window.slice();
    tell({ type: 'window', bytes }, [bytes.buffer]);
    return NO_WINDOW;
  };
  port.on('message', (request: GunzipRequest) => {
    try {
      if (request.type === 'begin') {
        const span = request.span === undefined ? {} : { span: request.span };
        stream = new GzipStream({ ...span, members: request.members, onOutput, packWindow: packAside });
      } else if (request.type === 'input') {
        stream?.push(input.read(request.slot, request.length));
        input.release(request.slot);
        say({ type: 'taken' });
      } else if (stream !== undefined) {
        const summary = stream.finish();
        stream = undefined;
        tell({ type: 'end' });
        say({ type: 'end', summary });
      }
    } catch (error) {
      stream = undefined;
      say({ type: 'error', error: toPlain(error) });
    }
  });
}

function accompany(output: SlotRing, inflating: MessagePort): void {
  const say = (reply: CompanionReply): void => port.postMessage(reply);
  let hash = createHash('sha256');
  let windows: Uint8Array[] = [];
  inflating.on('message', (request: CompanionRequest) => {
    if (request.type === 'output') {
      hash.update(output.read(request.slot, request.length));
      output.release(request.slot);
    } else if (request.type === 'window') {
      windows.push(packWindow(request.bytes));
    } else {
      say({ type: 'accompanied', digest: `sha256:${hash.digest('hex')}`, windows });
      hash = createHash('sha256');
      windows = [];
    }
  });
}
