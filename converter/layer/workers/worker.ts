/** The program of a worker thread; its role (messages.ts) selects the work. */
import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { packWindow } from '../../../formats/gzip/access-points.ts';
import { MemberChecks } from '../../../formats/gzip/member-checks.ts';
import { GzipStream, type GzipSummary } from '../../../formats/gzip/stream.ts';
import { deflatePart } from '../../../formats/gzip/writer.ts';
import { Inflater, pieceAt } from '../../../formats/kernels/inflate.ts';
import { BatchCompressor } from '../../../formats/zfile/compressor.ts';
import { ZstdDecoder } from '../../../formats/zstd/decoder.ts';
import { loadZstdLibrary } from '../../../formats/zstd/library.ts';
import { digestOfFile } from './digest-file.ts';
import { LocalPieces } from './file-pieces.ts';
import { OUTPUT_PIECES, OUTPUT_READERS } from './gunzip-thread.ts';
import { OutputPieces } from './output-pieces.ts';
import { Holds, SlotRing } from './shared-slots.ts';
import {
  type CompanionReply,
  type CompanionRequest,
  type GunzipReply,
  type GunzipRequest,
  type Job,
  type JobReply,
  type JobRequest,
  type JobResult,
  toPlain,
  type WorkerRole,
} from './worker-messages.ts';

const port = parentPort!;
const role = workerData as WorkerRole;

if (role.role === 'jobs') serveJobs();
else if (role.role === 'gunzip') gunzip(role);
else accompany(role);

function serveJobs(): void {
  const compressor = new BatchCompressor();
  const streams = new Map<number, LocalPieces>();
  const hashPieces = async ({ stream, bytes }: Job & { readonly type: 'pieces' }): Promise<JobResult> => {
    const pieces = streams.get(stream) ?? new LocalPieces();
    streams.set(stream, pieces);
    await pieces.update(bytes);
    return { type: 'pieces' };
  };
  const run = async (job: JobRequest): Promise<JobResult> => {
    if (job.type === 'pieces') return hashPieces(job);
    if (job.type === 'piece-list') {
      const pieces = streams.get(job.stream);
      streams.delete(job.stream);
      return { type: 'piece-list', pieceList: await pieces!.finish(job.path) };
    }
    if (job.type === 'deflate') return { type: 'deflate', pieces: deflatePart(job.bytes) };
    if (job.type === 'digest') return { type: 'digest', digest: await digestOfFile(job.path) };
    return { type: 'compress', size: await compressor.compress(job, job.length, job.format) };
  };
  port.on('message', async (request: JobRequest) => {
    const result = await run(request).catch((error: unknown): JobResult => ({ type: 'error', error: toPlain(error) }));
    port.postMessage({ id: request.id, ...result } satisfies JobReply);
  });
}

const NO_WINDOW = new Uint8Array(0);

/** A stream that is being decompressed. */
interface OpenStream {
  push(bytes: Uint8Array): void;
  finish(): GzipSummary | undefined;
}

function gunzip({ memory, input: slots, holds: counts, companion }: WorkerRole & { readonly role: 'gunzip' }): void {
  const say = (reply: GunzipReply): void => port.postMessage(reply);
  const tell = (request: CompanionRequest, transfer: ArrayBuffer[] = []): void =>
    companion.postMessage(request, transfer);
  const input = new SlotRing(slots);
  const holds = new Holds(counts);
  // A piece is reused once both readers have released it, so a stream that inflates a thousandfold needs no more memory.
  const ring = { memory, pieces: OUTPUT_PIECES, waitUntilFree: (piece: number) => holds.waitUntilFree(piece) };
  const outputOf =
    (isGzip: boolean) =>
    ({ byteOffset: start, length }: Uint8Array): void => {
      const piece = pieceAt(start);
      holds.add(piece, OUTPUT_READERS);
      say({ type: 'output', piece, start, length });
      tell({ type: 'output', isGzip, piece, start, length });
    };
  const packAside = (window: Uint8Array, log: Uint8Array | undefined): Uint8Array => {
    const isOwn = window.byteLength === window.buffer.byteLength && window.buffer instanceof ArrayBuffer;
    const bytes = isOwn ? window : window.slice();
    const references = log?.slice();
    const own = references === undefined ? [bytes] : [bytes, references];
    tell(
      { type: 'window', bytes, references },
      own.map(({ buffer }) => buffer as ArrayBuffer),
    );
    return NO_WINDOW;
  };
  const begin = (request: GunzipRequest & { readonly type: 'begin' }): OpenStream | Promise<OpenStream> =>
    request.format === 'zstd'
      ? unzstd(new OutputPieces(ring, outputOf(false)))
      : new GzipStream({
          ...(request.span === undefined ? {} : { span: request.span }),
          members: request.members,
          onOutput: outputOf(true),
          onMemberEnd: (end) => tell({ type: 'member', end }),
          packWindow: packAside,
          machine: new Inflater(ring),
        });
  let stream: OpenStream | Promise<OpenStream> | undefined;
  port.on('message', async (request: GunzipRequest) => {
    try {
      if (request.type === 'begin') {
        stream = begin(request);
        return;
      }
      // The messages of a stream that is still being opened wait in their order.
      const open = stream instanceof Promise ? await stream : stream;
      if (request.type === 'input') {
        open?.push(input.read(request.slot, request.length));
        input.release(request.slot);
        say({ type: 'taken' });
      } else if (open !== undefined) {
        const summary = open.finish();
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

async function unzstd(output: OutputPieces): Promise<OpenStream> {
  const decoder = new ZstdDecoder(await loadZstdLibrary());
  return {
    push(bytes) {
      for (const content of decoder.push(bytes)) output.write(content);
    },
    finish() {
      decoder.finish();
      decoder.close();
      output.flush();
      return undefined;
    },
  };
}

function accompany({ memory, holds: counts, gunzip: inflating }: WorkerRole & { readonly role: 'companion' }): void {
  const say = (reply: CompanionReply): void => port.postMessage(reply);
  const holds = new Holds(counts);
  let hash = createHash('sha256');
  let checks = new MemberChecks();
  let windows: Uint8Array[] = [];
  const take = (request: CompanionRequest): void => {
    if (request.type === 'output') {
      const output = new Uint8Array(memory.buffer, request.start, request.length);
      try {
        hash.update(output);
        if (request.isGzip) checks.update(output);
      } finally {
        holds.release(request.piece);
      }
    } else if (request.type === 'member') {
      checks.end(request.end);
    } else if (request.type === 'window') {
      windows.push(packWindow(request.bytes, request.references));
    } else {
      say({ type: 'accompanied', digest: `sha256:${hash.digest('hex')}`, windows });
      hash = createHash('sha256');
      checks = new MemberChecks();
      windows = [];
    }
  };
  inflating.on('message', (request: CompanionRequest) => {
    try {
      take(request);
    } catch (error) {
      say({ type: 'error', error: toPlain(error) });
    }
  });
}
