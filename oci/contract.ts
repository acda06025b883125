/** The storage contract as tests: every backend of oci/ passes the same ones. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BlobSource, bytesSource } from '../base/byte-source.ts';
import { AccelError } from '../base/error.ts';
import { fetchBytes } from './content.ts';
import type { Descriptor } from './descriptor.ts';
import { digestOf } from './digest.ts';
import { encodeJson } from './manifest.ts';
import { DOCKER, OCI } from './media-types.ts';
import { canRefer } from './powers.ts';
import type { Target } from './storage.ts';
import { blob, noise, pieces, pushImage, referrerOf, rejects } from './testing/test-content.ts';

export { blob, noise, pieces, pushImage, referrerOf, rejects } from './testing/test-content.ts';

/** Makes an empty target, and what cleans up after it. */
export type MakeTarget = () => Promise<{ readonly target: Target; readonly dispose?: () => Promise<void> }>;

const LIMIT = 16 * 1024 * 1024;

/** Declares the suite for one backend. */
export function storageContract(name: string, makeTarget: MakeTarget): void {
  describe(`storage contract: ${name}`, () => {
    let made: Awaited<ReturnType<MakeTarget>>;
    let target: Target;
    beforeAll(async () => {
      made = await makeTarget();
      target = made.target;
    });
    afterAll(async () => {
      await target?.close?.();
      await made?.dispose?.();
    });

    describe('blobs', () => {
      test.each([0, 1, 321, 4096, 65_536, 3_000_001])('a blob of %i bytes comes back whole', async (size) => {
        const bytes = noise(size, size + 1);
        const descriptor = blob(bytes);
        expect(await target.exists(descriptor)).toBe(false);
        expect(await target.push(descriptor, bytesSource(bytes))).toBe('pushed');
        expect(await target.exists(descriptor)).toBe(true);
        expect(equal(await fetchBytes(target, descriptor, LIMIT), bytes)).toBe(true);
      });

      test.each([1, 321, 4096])('a blob that arrives in pieces of %i bytes', async (step) => {
        const bytes = noise(10_000, step + 100);
        const descriptor = blob(bytes);
        expect(await target.push(descriptor, pieces(bytes, step))).toBe('pushed');
        expect(equal(await fetchBytes(target, descriptor, LIMIT), bytes)).toBe(true);
      });

      test('existing content is not read again', async () => {
        const bytes = noise(5000, 7);
        const descriptor = blob(bytes);
        await target.push(descriptor, bytesSource(bytes));
        let opened = 0;
        const source: BlobSource = {
          open() {
            opened += 1;
            return bytesSource(bytes).open();
          },
        };
        expect(await target.push(descriptor, source)).toBe('existed');
        expect(opened).toBe(0);
      });

      test('the same blob pushed twice at once', async () => {
        const bytes = noise(200_000, 8);
        const descriptor = blob(bytes);
        await Promise.all([1, 2, 3].map(() => target.push(descriptor, pieces(bytes, 1000))));
        expect(equal(await fetchBytes(target, descriptor, LIMIT), bytes)).toBe(true);
      });

      test('a sha512 digest in a descriptor that is not there is not-found, not a crash', async () => {
        const absent: Descriptor = { mediaType: OCI.layer, digest: `sha512:${'a'.repeat(128)}`, size: 3 };
        await rejects(target.fetch(absent), 'not-found');
      });

      test.each([
        ['one flipped bit', 'digest-mismatch', flipped],
        ['one byte short', 'size-mismatch', (bytes: Uint8Array) => bytes.subarray(1)],
        ['one byte long', 'size-mismatch', (bytes: Uint8Array) => Buffer.concat([bytes, new Uint8Array(1)])],
      ] as const)('content with %s is refused and not stored', async (what, code, damage) => {
        const bytes = noise(70_000, what.length);
        const descriptor = blob(bytes);
        await rejects(target.push(descriptor, pieces(damage(bytes), 1000)), code);
        expect(await target.exists(descriptor)).toBe(false);
        expect(await target.push(descriptor, bytesSource(bytes))).toBe('pushed');
      });

      test('a source that fails passes its error on and nothing is stored', async () => {
        const descriptor = blob(noise(50_000, 31));
        const source: BlobSource = {
          async *open() {
            yield noise(1000, 1);
            throw new AccelError('tar-invalid', 'the source broke');
          },
        };
        await rejects(target.push(descriptor, source), 'tar-invalid');
        expect(await target.exists(descriptor)).toBe(false);
      });

      test.each([0, 1, 1 << 20, (5 << 20) + 3])(
        'transient pieces of %d bytes in all, each used before the next',
        async (size) => {
          const bytes = noise(size, 61);
          const descriptor = blob(bytes);
          await target.push(descriptor, bytesSource(bytes));
          const got: Uint8Array[] = [];
          for await (const piece of await target.fetch(descriptor, { transient: true })) {
            // Others read meanwhile, and what comes later must not be in here yet.
            await new Promise((resolve) => setTimeout(resolve, 5));
            got.push(piece.slice());
          }
          expect(equal(Buffer.concat(got), bytes)).toBe(true);
        },
      );

      test('a blob that is not there is not-found and names its digest', async () => {
        const descriptor = blob(noise(10, 99));
        expect(await target.exists(descriptor)).toBe(false);
        const error = await rejects(target.fetch(descriptor), 'not-found');
        expect(JSON.stringify(error.where)).toContain(descriptor.digest);
        await rejects(target.fetchRange(descriptor, 0, 1), 'not-found');
      });

      test('a descriptor with a wrong size does not exist', async () => {
        const bytes = noise(1000, 55);
        await target.push(blob(bytes), bytesSource(bytes));
        const wrong = { ...blob(bytes), size: 1001 };
        expect(await target.exists(wrong)).toBe(false);
        await rejects(fetchBytes(target, wrong, LIMIT), 'size-mismatch');
      });
    });

    describe('ranges', () => {
      const bytes = noise(100_000, 5);
      const descriptor = blob(bytes);
      beforeAll(async () => {
        await target.push(descriptor, bytesSource(bytes));
      });

      test.each([
        [0, 0],
        [0, 1],
        [1, 4095],
        [65_535, 2],
        [99_999, 1],
        [100_000, 0],
        [0, 100_000],
      ])('offset %i, length %i', async (offset, length) => {
        const part = await target.fetchRange(descriptor, offset, length);
        expect(equal(part, bytes.subarray(offset, offset + length))).toBe(true);
      });

      test.each([
        [0, 100_001],
        [100_000, 1],
        [-1, 1],
        [0.5, 1],
      ])('offset %d, length %d is outside', async (offset, length) => {
        await rejects(target.fetchRange(descriptor, offset, length), 'size-mismatch');
      });
    });

    describe('manifests and tags', () => {
      test('a manifest is found by its digest, then by its tags', async () => {
        const { descriptor, bytes } = await pushImage(target, 'first');
        expect(await target.exists(descriptor)).toBe(true);
        expect(await target.push(descriptor, bytesSource(bytes))).toBe('existed');
        expect(await target.resolve(descriptor.digest)).toMatchObject(descriptor);
        await rejects(target.resolve('not-there-yet'), 'not-found');
        await target.tag(descriptor, 'one');
        await target.tag(descriptor, 'two');
        await target.tag(descriptor, 'one');
        expect(await target.resolve('one')).toMatchObject(descriptor);
        expect(await target.resolve('two')).toMatchObject(descriptor);
        expect(equal(await fetchBytes(target, descriptor, LIMIT), bytes)).toBe(true);
      });

      test('a tag moves, and its old manifest stays', async () => {
        const before = await pushImage(target, 'before');
        const after = await pushImage(target, 'after');
        await target.tag(before.descriptor, 'moving');
        await target.tag(after.descriptor, 'moving');
        expect((await target.resolve('moving')).digest).toBe(after.descriptor.digest);
        expect(await target.exists(before.descriptor)).toBe(true);
      });

      test('an index of two platforms', async () => {
        const amd64 = await pushImage(target, 'amd64');
        const arm64 = await pushImage(target, 'arm64');
        const manifests = [
          { ...amd64.descriptor, platform: { os: 'linux', architecture: 'amd64' } },
          { ...arm64.descriptor, platform: { os: 'linux', architecture: 'arm64' } },
        ];
        const bytes = encodeJson({ schemaVersion: 2, mediaType: OCI.index, manifests });
        const descriptor = { mediaType: OCI.index, digest: digestOf(bytes), size: bytes.length };
        await target.push(descriptor, bytesSource(bytes));
        await target.tag(descriptor, 'multi');
        expect(await target.resolve('multi')).toMatchObject(descriptor);
        expect(equal(await fetchBytes(target, descriptor, LIMIT), bytes)).toBe(true);
      });

      test('tags set at the same time are all kept', async () => {
        const { descriptor } = await pushImage(target, 'crowd');
        const tags = Array.from({ length: 8 }, (_, index) => `crowd-${index}`);
        await Promise.all(tags.map((tag) => target.tag(descriptor, tag)));
        for (const tag of tags) expect((await target.resolve(tag)).digest).toBe(descriptor.digest);
      });

      test('a missing tag is not-found and the error names it', async () => {
        const error = await rejects(target.resolve('no-such-tag'), 'not-found');
        expect(JSON.stringify(error.where)).toContain('no-such-tag');
      });

      test('a missing digest is not-found', async () => {
        await rejects(target.resolve(`sha256:${'0'.repeat(64)}`), 'not-found');
      });

      test('missing content cannot be tagged', async () => {
        const bytes = encodeJson({ schemaVersion: 2, mediaType: OCI.manifest, nothing: true });
        const descriptor = { mediaType: OCI.manifest, digest: digestOf(bytes), size: bytes.length };
        await rejects(target.tag(descriptor, 'dangling'), 'not-found');
        await rejects(target.resolve('dangling'), 'not-found');
      });

      test('a tag of 128 characters is accepted, one of 129 is refused', async () => {
        const { descriptor } = await pushImage(target, 'long');
        const longest = `v${'1'.repeat(127)}`;
        await target.tag(descriptor, longest);
        expect((await target.resolve(longest)).digest).toBe(descriptor.digest);
        await rejects(target.tag(descriptor, `${longest}2`), 'tag-too-long');
      });
    });

    describe('referrers', () => {
      const refer = (referrer: Awaited<ReturnType<typeof referrerOf>>) => {
        if (!canRefer(target)) throw new Error('the backend keeps no referrers');
        return target.pushReferrer(referrer.descriptor, bytesSource(referrer.bytes));
      };
      const found = async (subject: Descriptor, type?: string) => {
        if (!canRefer(target)) throw new Error('the backend keeps no referrers');
        return (await target.referrers(subject, type)).map(({ digest }) => digest).sort();
      };

      test('are found from their subject, all and by artifact type', async () => {
        const { descriptor: subject } = await pushImage(target, 'subject');
        expect(await found(subject)).toEqual([]);
        const one = await referrerOf(target, subject, 'application/vnd.test.one', { label: 'a' });
        const two = await referrerOf(target, subject, 'application/vnd.test.two', { label: 'b' });
        expect((await refer(one)).outcome).toBe('pushed');
        expect((await refer(two)).outcome).toBe('pushed');
        expect((await refer(one)).outcome).toBe('existed');
        expect(await found(subject)).toEqual([one.descriptor.digest, two.descriptor.digest].sort());
        expect(await found(subject, 'application/vnd.test.two')).toEqual([two.descriptor.digest]);
        expect(await found(subject, 'application/vnd.test.none')).toEqual([]);
        expect((await target.resolve(subject.digest)).digest).toBe(subject.digest);
      });

      test('linked at the same time are all listed, with type and annotations', async () => {
        const { descriptor: subject } = await pushImage(target, 'popular');
        const all = await Promise.all(
          Array.from({ length: 5 }, (_, index) =>
            referrerOf(target, subject, 'application/vnd.test.n', { label: `n${index}` }),
          ),
        );
        await Promise.all(all.map(refer));
        expect(await found(subject)).toEqual(all.map(({ descriptor }) => descriptor.digest).sort());
        if (!canRefer(target)) return;
        const entries = await target.referrers(subject);
        expect(entries.map((entry) => entry.annotations?.label).sort()).toEqual(['n0', 'n1', 'n2', 'n3', 'n4']);
        expect(new Set(entries.map((entry) => entry.artifactType))).toEqual(new Set(['application/vnd.test.n']));
      });

      test('of a subject that does not exist here are kept', async () => {
        const subject = { mediaType: OCI.manifest, digest: `sha256:${'e'.repeat(64)}`, size: 7 };
        const referrer = await referrerOf(target, subject, 'application/vnd.test.early', { label: 'early' });
        await refer(referrer);
        expect(await found(subject)).toEqual([referrer.descriptor.digest]);
      });

      test.each([
        ['no subject', undefined],
        ['a platform in it (ECR refuses that)', { platform: { os: 'linux', architecture: 'amd64' } }],
      ])('a manifest with %s is refused', async (_, extra) => {
        const { descriptor: subject } = await pushImage(target, 'refused');
        const made = await referrerOf(target, subject, 'application/vnd.test.x', {
          label: 'x',
          extra: extra ?? 'none',
        });
        await rejects(refer(made), 'manifest-invalid');
      });

      test('Docker’s media types know no subject', async () => {
        const { descriptor: subject } = await pushImage(target, 'docker');
        const made = await referrerOf(target, subject, 'application/vnd.test.x', { label: 'x' });
        const descriptor = { ...made.descriptor, mediaType: DOCKER.manifest };
        await rejects(refer({ ...made, descriptor }), 'manifest-invalid');
      });
    });

    describe('aborts', () => {
      test('a signal that fired before the call', async () => {
        const { descriptor } = await pushImage(target, 'abort');
        const signal = AbortSignal.abort();
        for (const call of [
          () => target.exists(descriptor, { signal }),
          () => target.fetch(descriptor, { signal }),
          () => target.fetchRange(descriptor, 0, 1, { signal }),
          () => target.resolve('first', { signal }),
          () => target.tag(descriptor, 'aborted', { signal }),
        ]) {
          await expect(call()).rejects.toThrow(/abort|interrupt/i);
        }
      });

      test('a signal in the middle of a push leaves nothing', async () => {
        const bytes = noise(2_000_000, 77);
        const descriptor = blob(bytes);
        const controller = new AbortController();
        const source: BlobSource = {
          async *open() {
            yield bytes.slice(0, 100_000);
            controller.abort();
            yield bytes.slice(100_000);
          },
        };
        await expect(target.push(descriptor, source, { signal: controller.signal })).rejects.toThrow(
          /abort|interrupt/i,
        );
        expect(await target.exists(descriptor)).toBe(false);
      });
    });
  });
}

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
