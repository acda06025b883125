/** Decompressing a gzip file as it comes in, checked to the last byte, with its access points on the way. */
import { AccelError } from '../../base/error.ts';
import { Inflater } from '../kernels/inflate.ts';
import type { InflateMachine } from '../kernels/inflate-machine.ts';
import { AccessPointRecorder, type WindowPacker } from './access-points.ts';
import { GZIP_MAGIC, gzipTrailer } from './layout.ts';
import { type GzipMemberEnd, MemberChecks, trailerMismatch } from './member-checks.ts';
import { GzipHeaderReader, hex } from './member-header.ts';
import type { AccessPoint } from './points.ts';

/** Options of a {@link GzipStream}. */
export interface GzipStreamOptions {
  /** Bytes of output between two access points; omitted: no access points. */
  readonly span?: number;
  /** Receives the output in order, in pieces of about 1 MiB. The view is valid during the call only. */
  readonly onOutput: (bytes: Uint8Array) => void;
  /**
   * `any` takes several members one after another (docs/formats.md: full mode); `single` refuses a second member and
   * everything else but zero padding behind the first with AccelError `layer-unsupported`, because the runtime's
   * index cannot cross members.
   */
  readonly members: 'single' | 'any';
  /** Makes the windows of the access points small; omitted: here and now. */
  readonly packWindow?: WindowPacker;
  /**
   * Called for each member's end, before or right after the output that reaches it; a caller that sets it checks the output
   * against it. Omitted: that is done here.
   */
  readonly onMemberEnd?: (end: GzipMemberEnd) => void;
  /** The inflate to use; omitted: a new WebAssembly one. */
  readonly machine?: InflateMachine;
}

/** Facts about a whole gzip file; plain data. */
export interface GzipSummary {
  /** Bytes of the file, padding included. */
  readonly compressedSize: number;
  /** Bytes of output of all members. */
  readonly uncompressedSize: number;
  /** Members, at least 1. */
  readonly members: number;
  /** Zero bytes behind the last member. */
  readonly padding: number;
  /** The span asked for; undefined without an index. */
  readonly span: number | undefined;
  /** Access points; none without a span, and none if there is more than one member: such a file has no valid index. */
  readonly points: readonly AccessPoint[];
}

type State = 'header' | 'body' | 'trailer' | 'behind' | 'padding';

/**
 * A gzip decompressor: any number of {@link push}, then {@link finish}. It takes what zlib takes and refuses the rest
 * with AccelError `gzip-invalid`; unlike node:zlib it does not ignore what follows zero padding.
 */
export class GzipStream {
  readonly #options: GzipStreamOptions;
  readonly #machine: InflateMachine;
  #recorder: AccessPointRecorder | undefined;
  #state: State = 'header';
  #header = new GzipHeaderReader(0);
  #members = 0;
  #padding = 0;
  /** Output offset where the current member starts. */
  #memberStart = 0;
  readonly #checks: MemberChecks | undefined;
  /** Output before this offset has been handed out. */
  #emitted = 0;

  constructor(options: GzipStreamOptions) {
    this.#options = options;
    this.#machine = options.machine ?? new Inflater();
    if (options.onMemberEnd === undefined) this.#checks = new MemberChecks();
    const { span, packWindow } = options;
    if (span !== undefined) this.#recorder = new AccessPointRecorder(this.#machine, span, packWindow);
  }

  /** Members that have begun so far; more than 1 means that there will be no index. */
  get members(): number {
    return this.#members;
  }

  /** Takes the next bytes of the file. Output may lag behind by as much as 1 MiB. */
  push(chunk: Uint8Array): void {
    for (let from = 0; from < chunk.length; ) {
      from += this.#machine.write(chunk, from);
      this.#advance(false);
    }
  }

  /** The file is complete: hands out the rest and returns what it was. */
  finish(): GzipSummary {
    this.#advance(true);
    if (this.#state === 'header' || this.#state === 'trailer') throw this.#brokenOff();
    this.#emit();
    return {
      compressedSize: this.#machine.inputOffset,
      uncompressedSize: this.#machine.outputOffset,
      members: this.#members,
      padding: this.#padding,
      span: this.#options.span,
      points: this.#recorder?.points ?? [],
    };
  }

  /** Goes through the states until more input is needed. */
  #advance(final: boolean): void {
    while (this.#step(final));
  }

  /** One state; false if more input is needed. */
  #step(final: boolean): boolean {
    switch (this.#state) {
      case 'header':
        return this.#readHeader();
      case 'body':
        return this.#inflate(final);
      case 'trailer':
        return this.#readTrailer();
      case 'behind':
        return this.#lookBehind(final);
      case 'padding':
        return this.#readPadding();
    }
  }

  #readHeader(): boolean {
    this.#machine.skip(this.#header.read(this.#machine.unread));
    if (!this.#header.done) return false;
    this.#members++;
    if (this.#members > 1) this.#recorder = undefined;
    this.#memberStart = this.#machine.outputOffset;
    this.#machine.begin(this.#recorder !== undefined);
    this.#recorder?.boundary();
    this.#state = 'body';
    return true;
  }

  #inflate(final: boolean): boolean {
    switch (this.#machine.run(final)) {
      case 'input':
        return false;
      case 'boundary':
        this.#recorder?.boundary();
        return true;
      case 'output':
        this.#emit();
        this.#recorder?.beforeRelease();
        this.#machine.release();
        return true;
      case 'end':
        this.#recorder?.finish();
        this.#state = 'trailer';
        return true;
    }
  }

  #readTrailer(): boolean {
    const { unread } = this.#machine;
    if (unread.length < gzipTrailer.size) return false;
    const { crc32, isize } = gzipTrailer.read(unread);
    const { inputOffset, outputOffset } = this.#machine;
    const end = { outputOffset, crc32, inputOffset };
    if (this.#checks === undefined) this.#options.onMemberEnd?.(end);
    else this.#checks.end(end);
    const size = (outputOffset - this.#memberStart) % 0x1_0000_0000;
    if (isize !== size) throw trailerMismatch('length', isize, size, inputOffset);
    this.#machine.skip(gzipTrailer.size);
    this.#state = 'behind';
    return true;
  }

  /** Reads on after a member: nothing, padding, the next member, or bytes that do not belong there. */
  #lookBehind(final: boolean): boolean {
    const { unread } = this.#machine;
    if (unread.length === 0) return false;
    if (unread[0] === 0) {
      this.#state = 'padding';
      return true;
    }
    if (unread.length < 2 && !final) return false;
    const member = unread.length >= 2 && (unread[0]! | (unread[1]! << 8)) === GZIP_MAGIC;
    if (this.#options.members === 'single') throw this.#notSingle(member ? 'a second gzip member' : undefined);
    if (!member) throw this.#garbage();
    this.#header = new GzipHeaderReader(this.#machine.inputOffset);
    this.#state = 'header';
    return true;
  }

  #readPadding(): boolean {
    const { unread } = this.#machine;
    let zeros = 0;
    while (zeros < unread.length && unread[zeros] === 0) zeros++;
    const more = unread.length > zeros;
    this.#machine.skip(zeros);
    this.#padding += zeros;
    if (more) throw this.#options.members === 'single' ? this.#notSingle(undefined) : this.#garbage();
    return false;
  }

  #emit(): void {
    const output = this.#machine.output(this.#emitted);
    this.#emitted = this.#machine.outputOffset;
    if (output.length === 0) return;
    this.#checks?.update(output);
    this.#options.onOutput(output);
  }

  #notSingle(found: string | undefined): AccelError {
    return new AccelError('layer-unsupported', 'index-only mode needs a gzip layer that is one single member', {
      where: { 'compressed byte': this.#machine.inputOffset },
      expected: 'the end of the file, or zero padding',
      found: found ?? this.#nextBytes(),
      hint: 'convert this image in full mode, or rebuild the layer with a plain gzip',
    });
  }

  #garbage(): AccelError {
    return new AccelError('gzip-invalid', 'there are bytes behind the gzip data that do not belong to it', {
      where: { 'compressed byte': this.#machine.inputOffset },
      expected: 'another gzip member, zero padding or the end of the file',
      found: this.#nextBytes(),
      hint: 'fetch or build the layer again; gzip -t shows whether the source itself is damaged',
    });
  }

  #nextBytes(): string {
    return `bytes ${hex(this.#machine.unread.subarray(0, 4))}`;
  }

  #brokenOff(): AccelError {
    return new AccelError('gzip-invalid', `the gzip data breaks off in a member's ${this.#state}`, {
      where: { 'compressed byte': this.#machine.inputOffset + this.#machine.unread.length },
      expected: this.#state === 'header' ? 'a whole member' : '8 bytes of CRC-32 and length',
      found: 'the end of the file',
      hint: 'the download or the source is incomplete; fetch it again',
    });
  }
}
