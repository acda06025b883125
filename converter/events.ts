/**
 * Events that a conversion emits while it runs. cli/progress turns them into a terminal display, plain lines or the log
 * groups of an Action.
 */

/** Kind of a converted layer: rewritten blocks, or an index over the original blobs. */
export type LayerKind = 'full' | 'index-only';

/** Identifies one layer of one platform's image in the progress of a conversion. */
export interface LayerId {
  /** Platform as `os/architecture[/variant]`. */
  readonly platform: string;
  /** Position in the image, 0 = lowest. */
  readonly index: number;
  /** Layers in the image. */
  readonly count: number;
  /** Digest of the source layer. */
  readonly digest: string;
  /** Size of the source layer's blob in bytes. */
  readonly size: number;
}

/** One converted layer as it was pushed. */
export interface LayerOutput {
  readonly kind: LayerKind;
  readonly digest: string;
  /** Bytes of the pushed blob. */
  readonly size: number;
}

/** Seconds of wall time a layer spent in each stage. */
export interface StageTimes {
  /** From the first source byte to the last block written. */
  readonly convert: number;
  /** Hashing and upload of the finished blob, or finding that it exists. */
  readonly push: number;
}

/** Everything that a conversion reports, in chronological order. */
export type ConvertEvent =
  | {
      readonly type: 'source';
      readonly reference: string;
      readonly digest: string;
      readonly platforms: readonly string[];
      /** Bytes of the layers of all platforms. */
      readonly bytes?: number;
    }
  | { readonly type: 'manifest-skipped'; readonly digest: string; readonly platform: string; readonly reason: string }
  | { readonly type: 'warning'; readonly message: string; readonly layer?: LayerId; readonly path?: string }
  | { readonly type: 'layer-start'; readonly layer: LayerId }
  | { readonly type: 'layer-reused'; readonly layer: LayerId; readonly outputs: readonly LayerOutput[] }
  | { readonly type: 'layer-progress'; readonly layer: LayerId; readonly bytesRead: number }
  | {
      readonly type: 'layer-converted';
      readonly layer: LayerId;
      readonly outputs: readonly LayerOutput[];
      readonly entries: number;
    }
  | { readonly type: 'layer-pushed'; readonly layer: LayerId; readonly output: LayerOutput; readonly existed: boolean }
  | { readonly type: 'layer-done'; readonly layer: LayerId; readonly times: StageTimes }
  | { readonly type: 'restart'; readonly platform: string; readonly virtualSize: number; readonly reason: string }
  | {
      readonly type: 'manifest-pushed';
      readonly digest: string;
      readonly platform: string;
      readonly kind: 'full' | 'containerd';
    }
  | {
      readonly type: 'prefetch';
      readonly platform: string;
      readonly kind: 'full' | 'containerd';
      readonly form: 'list' | 'trace';
      readonly files: number;
      readonly bytes: number;
      readonly entries: number;
    }
  | {
      /** The new image keeps the list of the image that it replaces. */
      readonly type: 'prefetch-kept';
      readonly tag: string;
      readonly kind: 'full' | 'containerd';
      /** Empty for an image that is in no index. */
      readonly platform: string;
      readonly lines: number;
    }
  | {
      readonly type: 'prefetch-dropped';
      readonly tag: string;
      readonly kind: 'full' | 'containerd';
      readonly platform: string;
      readonly reason: string;
    }
  | { readonly type: 'referrer'; readonly digest: string; readonly subject: string; readonly via: 'api' | 'tag' }
  | { readonly type: 'tagged'; readonly tag: string; readonly digest: string }
  | { readonly type: 'up-to-date'; readonly tag: string; readonly digest: string };

/** Receives the events of a conversion; must not throw. */
export type EventSink = (event: ConvertEvent) => void;
