/** The program of a worker thread: it does jobs (compresses batches, hashes files), or decompresses one gzip stream after another. */
import { parentPort, workerData } from 'node:worker_threads';
import { GzipStream } from '../../formats/gzip/stream.ts';
import { makeBlockCompressor, type SyncBlockCompressor } from '../../formats/zfile/compressor.ts';
import { digestOfFile } from './digest-file.ts';
import {
  type GunzipReply,
  type GunzipRequest,
  type NumberedRequest,
  type PoolReply,
  type SharedSlots,
  toPlain,
  type WorkerRole,
} from './messages.ts';

const port = parentPort!;
const role = workerData as WorkerRole;

if (role.role === 'jobs') serveJobs();
else gunzip(role.slots);

function serveJobs(): void {
  const compressors = new Map<string, Promise<SyncBlockCompressor>>();
  const say = (reply: PoolReply, transfer: ArrayBufferLike[] = []): void =>
    port.postMessage(reply, transfer as ArrayBuffer[]);
  port.on('message', async (request: NumberedRequest) => {
    const { id } = request;
    try {
      if (request.type === 'digest') {
        say({ id, type: 'digest', digest: await digestOfFile(request.path) });
        return;
      }
      const key = `${request.algorithm} ${request.blockSize}`;
      const compressor = compressors.get(key) ?? makeBlockCompressor(request.algorithm, request.blockSize);
      compressors.set(key, compressor);
      const { bytes, lengths } = (await compressor).compress(request.bytes);
      say({ id, type: 'compress', bytes, lengths }, [bytes.buffer, lengths.buffer]);
    } catch (error) {
      say({ id, type: 'error', error: toPlain(error) });
    }
  });
}

function gunzip(slots: SharedSlots): void {
  const say = (reply: GunzipReply): void => port.postMessage(reply);
  const flags = new Int32Array(slots.flags);
  let slot = 0;
  let stream: GzipStream | undefined;
  const onOutput = (bytes: Uint8Array): void => {
    for (let from = 0; from < bytes.length; from += slots.size) {
      // Waits until the reader has let go of the slot: so a stream that inflates a thousandfold takes no more memory.
      Atomics.wait(flags, slot, 1);
      const piece = bytes.subarray(from, from + slots.size);
      new Uint8Array(slots.bytes, slot * slots.size, piece.length).set(piece);
      Atomics.store(flags, slot, 1);
      say({ type: 'output', slot, length: piece.length });
      slot = (slot + 1) % slots.count;
    }
  };
  port.on('message', (request: GunzipRequest) => {
    try {
      if (request.type === 'begin') {
        stream = new GzipStream({
          ...(request.span === undefined ? {} : { span: request.span }),
          members: request.members,
          onOutput,
        });
      } else if (request.type === 'chunk') {
        stream?.push(request.bytes);
        say({ type: 'taken' });
      } else if (stream !== undefined) {
        say({ type: 'end', summary: stream.finish() });
        stream = undefined;
      }
    } catch (error) {
      stream = undefined;
      say({ type: 'error', error: toPlain(error) });
    }
  });
}
