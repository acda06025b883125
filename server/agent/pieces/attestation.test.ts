/** Signed statements, and who is believed: certificates are real ones. */
import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { createAuthority, type PemPair } from '../../certificates/authority.ts';
import { issueNodeCertificate } from '../certificates.ts';
import { blobKey, createMembers, owners } from '../peers/topology.ts';
import { Attestations, type Identity, type Statement } from './attestation.ts';
import { hashPiece } from './piece-file.ts';
import { PieceVerifier } from './verify.ts';

const DAY = 86_400_000;
const validity = { from: new Date(Date.now() - DAY), to: new Date(Date.now() + DAY) };
const IDS = Array.from({ length: 20 }, (_, index) => `10.0.0.${index + 1}:65002`);
const digest = `sha256:${'c'.repeat(64)}`;
const bytes = randomBytes(1000);
const statement: Statement = { digest, size: 1000, index: 0, sha256: hashPiece(bytes) };
const members = createMembers(IDS.map((id) => ({ id, zone: '' })));
const ranked = owners(members, blobKey(digest), 0, 20).map(({ id }) => id);

let authority: PemPair;
const of = async (node: string, by = authority): Promise<Identity> => ({
  ca: by.cert,
  ...(await issueNodeCertificate(by, node, validity)),
});

beforeAll(async () => {
  authority = await createAuthority('test', validity);
});

describe('an attestation', () => {
  it('is good for what it states, and for nothing else', async () => {
    const node = ranked[0]!;
    const attestations = new Attestations(await of(node));
    const text = attestations.sign(statement, 'owner', node);
    expect(attestations.check(text, statement)).toEqual({ ...statement, signer: node, as: 'owner' });
    for (const other of [
      { ...statement, index: 1 },
      { ...statement, size: 999 },
      { ...statement, sha256: 'd'.repeat(64) },
      { ...statement, digest: `sha256:${'d'.repeat(64)}` },
    ])
      expect(attestations.check(text, other)).toBeUndefined();
    expect(attestations.check(text.replace('1.owner', '1.holder'), statement)).toBeUndefined();
  });

  it('of another node than the certificate names is refused', async () => {
    const attestations = new Attestations(await of(IDS[0]!));
    expect(attestations.check(attestations.sign(statement, 'owner', IDS[1]!), statement)).toBeUndefined();
  });

  it('of a kept piece is made again by whoever made it when its certificate has ended, and given up by all others', async () => {
    let now = Date.now();
    const [mine, theirs] = [new Attestations(await of(IDS[0]!), () => now), new Attestations(await of(IDS[1]!))];
    const kept = { mine: mine.sign(statement, 'holder', IDS[0]!), theirs: theirs.sign(statement, 'owner', IDS[1]!) };
    expect(mine.renew(kept.mine, statement, IDS[0]!)).toBe(kept.mine);
    expect(mine.renew(kept.theirs, statement, IDS[0]!)).toBe(kept.theirs);
    now += 2 * DAY;
    const later = { from: new Date(now - DAY), to: new Date(now + DAY) };
    const next = await createAuthority('next', later);
    const identity = { ca: next.cert, ...(await issueNodeCertificate(next, IDS[0]!, later)) };
    mine.use(identity);
    expect(mine.isBelieved(kept.mine)).toBe(false);
    const renewed = mine.renew(kept.mine, statement, IDS[0]!)!;
    expect(renewed).not.toBe(kept.mine);
    expect(mine.check(renewed, statement)).toEqual({ ...statement, signer: IDS[0]!, as: 'holder' });
    // The size of the blob, which it states, is not known; or it is another node's word.
    expect(mine.renew(kept.mine, undefined, IDS[0]!)).toBeUndefined();
    expect(mine.renew(kept.theirs, statement, IDS[0]!)).toBeUndefined();
    expect(mine.renew('nothing', statement, IDS[0]!)).toBeUndefined();
  });

  it('by another authority is refused, though its name is the same', async () => {
    const theirs = new Attestations(await of(IDS[0]!, await createAuthority('test', validity)));
    const ours = new Attestations(await of(IDS[0]!));
    expect(ours.check(theirs.sign(statement, 'owner', IDS[0]!), statement)).toBeUndefined();
  });

  it('of a certificate that has expired is refused, also when it was good before', async () => {
    let now = Date.now();
    const attestations = new Attestations(await of(IDS[0]!), () => now);
    const text = attestations.sign(statement, 'owner', IDS[0]!);
    expect(attestations.check(text, statement)).toBeDefined();
    now += 2 * DAY;
    expect(attestations.check(text, statement)).toBeUndefined();
  });

  it.each(['', '1.owner', '1.owner.x.y.z', '2.owner.a.b.c', '1.king.a.b.c', '1.owner.a.b.c.d', 'x'.repeat(10_000)])(
    'that is no attestation is refused: %s',
    async (text) => {
      expect(new Attestations(await of(IDS[0]!)).check(text, statement)).toBeUndefined();
    },
  );
});

describe('a piece from another agent', () => {
  const arrival = { id: { digest, index: 0 }, blobBytes: 1000, length: 1000, bytes };
  const verifier = async () =>
    new PieceVerifier({ attestations: new Attestations(await of(IDS[0]!)), members: () => members });
  const signed = async (node: string, as: 'owner' | 'holder') =>
    new Attestations(await of(node)).sign(statement, as, node);

  it('passes with the word of an owner or of a holder', async () => {
    for (const [node, as] of [
      [ranked[0]!, 'owner'],
      [ranked[5]!, 'owner'],
      [ranked[19]!, 'holder'],
    ] as const) {
      const attestation = await signed(node, as);
      expect((await verifier()).check({ ...arrival, attestation }, 'peer')).toMatchObject({ attestation });
    }
  });

  it('is refused, each time for its reason', async () => {
    const check = async (changes: object) =>
      (await verifier()).check({ ...arrival, attestation: undefined, ...changes }, 'peer');
    expect(await check({})).toBe('not-attested');
    expect(await check({ attestation: 'nonsense' })).toBe('bad-attestation');
    expect(await check({ attestation: await signed(ranked[19]!, 'owner') })).toBe('signer-not-owner');
    // A name that is not of the network, though the authority has signed it.
    expect(await check({ attestation: await signed('10.9.9.9:65002', 'holder') })).toBe('signer-not-owner');
    expect(await check({ bytes: bytes.subarray(1), attestation: await signed(ranked[0]!, 'owner') })).toBe(
      'wrong-length',
    );
    expect(await check({ bytes: randomBytes(1000), attestation: await signed(ranked[0]!, 'owner') })).toBe(
      'bad-attestation',
    );
  });

  it('of a node that signed a wrong hash is refused from then on', async () => {
    const checker = await verifier();
    const attestation = await signed(ranked[0]!, 'owner');
    checker.check({ ...arrival, attestation }, 'peer');
    expect(checker.compare({ digest, index: 0 }, statement.sha256)).toBeUndefined();
    expect(checker.compare({ digest, index: 0 }, 'e'.repeat(64))).toBe(ranked[0]);
    expect(checker.check({ ...arrival, attestation }, 'peer')).toBe('banned');
  });

  it('needs no word where the list of the converter names its hash, and none helps where it names another', async () => {
    const checker = await verifier();
    checker.setList(digest, [statement.sha256]);
    expect(checker.check({ ...arrival, attestation: undefined }, 'peer')).toMatchObject({ sha256: statement.sha256 });
    checker.setList(digest, ['f'.repeat(64)]);
    const attestation = await signed(ranked[0]!, 'owner');
    expect(checker.check({ ...arrival, attestation }, 'peer')).toBe('not-in-list');
    checker.refuteList(digest);
    checker.setList(digest, ['f'.repeat(64)]);
    expect(checker.hasList(digest)).toBe(false);
  });
});
