/**
 * Keeps the prefetch lists of the images that a conversion replaces, if the caller gives no list. A list keeps its lines; a
 * trace keeps the files that it reads, because its offsets are those of the old layers.
 */
import { AccelError, asAccelError } from '../../base/error.ts';
import { fetchBytes } from '../../oci/content.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import type { NamedDocument } from '../../oci/document.ts';
import { type ImageManifest, MAX_MANIFEST_SIZE, parseManifest } from '../../oci/manifest.ts';
import { isManifest } from '../../oci/media-types.ts';
import { formatPlatform } from '../../oci/platform.ts';
import type { Target } from '../../oci/storage.ts';
import { readCarriedPrefetch } from '../../prefetch/carried.ts';
import { filesOfTrace } from '../../prefetch/trace-files.ts';
import { openImage } from '../../reader/accelerated-image.ts';
import { openFiles } from '../../reader/files.ts';
import { layerKindOf } from '../../reader/stack.ts';
import type { ConvertEvent } from '../events.ts';
import type { ConvertRequest, OutputTag } from '../options.ts';
import { type PrefetchList, parsePrefetch } from './prefetch-list.ts';

/** Stands for the platform of an image that is in no index. */
const ANY = '';

/** The parts of a conversion that its lists are read with. */
export interface KeptListsContext {
  readonly target: Target;
  /** With `noPrefetch` the lists are dropped. */
  readonly request: Pick<ConvertRequest, 'noPrefetch'>;
  readonly signal: AbortSignal;
  emit(event: ConvertEvent): void;
}

/** The lists of one run, by the kind of the result that replaces an image. */
export class KeptLists {
  readonly #replaced = new Map<OutputTag['kind'], { readonly tag: string; readonly named: NamedDocument }>();
  readonly #lists = new Map<OutputTag['kind'], Map<string, PrefetchList>>();

  /** Notes the image that a result is going to replace. */
  note({ kind, tag }: OutputTag, named: NamedDocument): void {
    this.#replaced.set(kind, { tag, named });
  }

  /** Reads the lists of the images that results replace, and reports which are kept and which are dropped. */
  async load(context: KeptListsContext, due: readonly OutputTag[]): Promise<void> {
    for (const { kind } of due) {
      const replaced = this.#replaced.get(kind);
      if (replaced === undefined) continue;
      const lists = new Map<string, PrefetchList>();
      for (const { platform, descriptor, manifest } of await imagesOf(context, replaced.named)) {
        const top = manifest.layers.at(-1);
        if (top === undefined || layerKindOf(top) !== 'acceleration') continue;
        const place = {
          tag: replaced.tag,
          kind: kind === 'full' ? ('full' as const) : ('containerd' as const),
          platform,
        };
        if (context.request.noPrefetch === true) {
          context.emit({ type: 'prefetch-dropped', ...place, reason: 'as asked for' });
          continue;
        }
        try {
          const list = await readList(context, descriptor, manifest);
          lists.set(platform, list);
          context.emit({ type: 'prefetch-kept', ...place, lines: list.lines.length });
        } catch (error) {
          if (context.signal.aborted || !(error instanceof AccelError)) throw error;
          context.emit({ type: 'prefetch-dropped', ...place, reason: `it cannot be read: ${error.message}` });
        }
      }
      if (lists.size > 0) this.#lists.set(kind, lists);
    }
  }

  /** Whether any result has a list of this kind. */
  get isEmpty(): boolean {
    return this.#lists.size === 0;
  }

  /** The list of a platform's image in a kind of result. */
  of(kind: OutputTag['kind'], platform: string): PrefetchList | undefined {
    const lists = this.#lists.get(kind);
    return lists?.get(platform) ?? lists?.get(ANY);
  }

  /** Stands for the lists of a kind of result in the record of its options. */
  nameOf(kind: OutputTag['kind']): string | undefined {
    const lists = [...(this.#lists.get(kind) ?? [])];
    const names = new Set(lists.map(([, { name }]) => name));
    if (names.size <= 1) return [...names][0];
    const all = lists.map(([platform, { name }]) => `${platform}=${name}\n`).sort();
    return digestOf(Buffer.from(all.join(''))).slice('sha256:'.length, 'sha256:'.length + 16);
  }
}

interface OldImage {
  readonly platform: string;
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
}

async function imagesOf(
  { target, signal, emit }: KeptListsContext,
  { descriptor, document }: NamedDocument,
): Promise<OldImage[]> {
  if (document.kind === 'manifest') return [{ platform: ANY, descriptor, manifest: document.manifest }];
  const images: OldImage[] = [];
  for (const child of document.index.manifests) {
    if (!isManifest(child.mediaType)) continue;
    try {
      const manifest = parseManifest(await fetchBytes(target, child, MAX_MANIFEST_SIZE, { signal }), child);
      images.push({ platform: formatPlatform(child.platform ?? {}), descriptor: child, manifest });
    } catch (error) {
      if (asAccelError(error).code === 'aborted') throw error;
      const message = `an image that is replaced cannot be read, so its prefetch list is lost: ${asAccelError(error).message}`;
      emit({ type: 'warning', message });
    }
  }
  return images;
}

async function readList(
  { target, signal }: KeptListsContext,
  { digest }: Descriptor,
  { layers }: ImageManifest,
): Promise<PrefetchList> {
  const carried = await readCarriedPrefetch(target, layers, { signal });
  const { content } = carried!;
  if (content.form === 'list') {
    const lines = content.list.kept.map((line) => latin1(escaped(line.startsWith('/') ? line : `/${line}`)));
    return parsePrefetch({ lines, format: 'list' });
  }
  const image = await openImage(target, digest, { signal });
  const paths = await filesOfTrace(image, await openFiles(image), content.reads);
  return parsePrefetch({ lines: paths.map((path) => latin1(escaped(path))), format: 'trace' });
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** Replaces characters that are wildcards in a list by a wildcard, which matches them. */
function escaped(path: string): string {
  return path.replace(/[*?[\]\\]/g, '?');
}
