/** An image whose blobs are read as a node's device reads them, through an agent; its documents come from elsewhere. */
import type { Descriptor } from '../../oci/descriptor.ts';
import { isConfig, isLayer } from '../../oci/media-types.ts';
import type { Target } from '../../oci/storage.ts';
import type { DeviceClient } from './device-client.ts';

/** `documents` has the manifests and configs; layers are read from the repository at `base`, `http://HOST/v2/NAME/`. */
export function deviceTarget(documents: Target, device: Pick<DeviceClient, 'read'>, base: string): Target {
  const read = (descriptor: Descriptor, offset: number, length: number) =>
    device.read(new URL(`blobs/${descriptor.digest}`, base).href, offset, length);
  return new Proxy(documents, {
    get: (of, name) => {
      if (name === 'fetchRange') return read;
      if (name === 'fetch')
        return async (descriptor: Descriptor) =>
          isLayer(descriptor.mediaType) && !isConfig(descriptor.mediaType)
            ? [await read(descriptor, 0, descriptor.size)]
            : of.fetch(descriptor);
      const value: unknown = Reflect.get(of, name, of);
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
}
