/** Checks for the optional powers of a target (storage.ts declares them). */
import type { BlobSizer, FileTaker, ImageLister, InRegistry, Mounter, ReferrerStore } from './storage.ts';

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
