/** Checks for the optional powers of a target (storage.ts declares them). */
import type {
  BlobSizer,
  Confirmer,
  FileTaker,
  ImageLister,
  InRegistry,
  ManifestRemover,
  Mounter,
  NamedFetcher,
  PushProber,
  ReadOptions,
  ReferrerStore,
  TagLister,
  TagMerger,
  TagMover,
} from './storage.ts';

/** Optional power: gives the Authorization header of its pulls to a program that pulls for the same caller. */
export interface Authorizer {
  pullAuthorization(options?: ReadOptions): Promise<string | undefined>;
}

/** Whether a target has the optional power {@link Authorizer}. */
export function canAuthorize(target: object): target is Authorizer {
  return 'pullAuthorization' in target && typeof target.pullAuthorization === 'function';
}

/** Whether a target has the optional power {@link FileTaker}. */
export function canTakeFiles(target: object): target is FileTaker {
  return 'takeFile' in target && typeof target.takeFile === 'function';
}

/** Whether a target has the optional power {@link Mounter}. */
export function canMount(target: object): target is Mounter {
  return 'mount' in target && typeof target.mount === 'function';
}

/** Whether a target has the optional power {@link BlobSizer}. */
export function canSizeBlobs(target: object): target is BlobSizer {
  return 'blobSize' in target && typeof target.blobSize === 'function';
}

/** Whether a target has the optional power {@link ImageLister}. */
export function canListImages(target: object): target is ImageLister {
  return 'images' in target && typeof target.images === 'function';
}

/** Whether a target has the optional power {@link ReferrerStore}. */
export function canRefer(target: object): target is ReferrerStore {
  return 'pushReferrer' in target && typeof target.pushReferrer === 'function';
}

/** The target's place if it has the optional power {@link InRegistry}. */
export function inRegistry(target: object): InRegistry | undefined {
  if (!('registry' in target && 'repository' in target)) return undefined;
  const { registry, repository } = target;
  return typeof registry === 'string' && typeof repository === 'string' ? { registry, repository } : undefined;
}

/** Whether a target has the optional power {@link NamedFetcher}. */
export function canFetchNamed(target: object): target is NamedFetcher {
  return 'fetchNamed' in target && typeof target.fetchNamed === 'function';
}

/** Whether a target has the optional power {@link PushProber}. */
export function canProbePush(target: object): target is PushProber {
  return 'probePush' in target && typeof target.probePush === 'function';
}

/** Whether a target has the optional power {@link Confirmer}. */
export function canConfirm(target: object): target is Confirmer {
  return 'confirm' in target && typeof target.confirm === 'function';
}

/** Whether a target has the optional power {@link TagMover}. */
export function canMoveTags(target: object): target is TagMover {
  return 'moveTag' in target && typeof target.moveTag === 'function';
}

/** Whether a target has the optional power {@link TagMerger}. */
export function canMergeTags(target: object): target is TagMerger {
  return 'tagMerged' in target && typeof target.tagMerged === 'function';
}

/** Whether a target has the optional power {@link TagLister}. */
export function canListTags(target: object): target is TagLister {
  return 'tags' in target && typeof target.tags === 'function';
}

/** Whether a target has the optional power {@link ManifestRemover}. */
export function canRemoveManifests(target: object): target is ManifestRemover {
  return 'removeManifest' in target && typeof target.removeManifest === 'function';
}
