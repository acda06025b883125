/** Damaged piece lists: what is accepted is a list that encodes to the same bytes. */
import { encodePieceList, PIECE_BYTES, parsePieceList } from '../../../formats/piece-list/piece-list.ts';
import { mutateBytes } from '../mutate-bytes.ts';
import { demand, type FuzzTarget } from '../target.ts';

/** Offsets of magic, piece size, number of pieces and blob size. */
const FIELDS = [0, 8, 12, 16];
const [RESERVED, HEADER] = [24, 32];
const HASH_BYTES = 32;

/** The reader of piece lists. */
export const pieceListTarget: FuzzTarget = {
  name: 'piece-list',
  codes: ['manifest-invalid'],
  cases: 3000,
  async open() {
    const lists = [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 7 * PIECE_BYTES - 5].map((blobBytes) =>
      encodePieceList({
        blobBytes,
        hashes: Array.from({ length: Math.ceil(blobBytes / PIECE_BYTES) }, (_, i) => `${i % 10}a`.repeat(HASH_BYTES)),
      }),
    );
    return {
      make: (random) => ({
        bytes: mutateBytes(random.pick(lists), random, { fields: FIELDS, block: HASH_BYTES }),
        mended: true,
      }),
      check({ bytes }) {
        const list = parsePieceList(bytes);
        demand(list.hashes.length === Math.ceil(list.blobBytes / PIECE_BYTES), 'another number of hashes than pieces');
        const again = encodePieceList(list);
        // Readers ignore the reserved bytes.
        again.set(bytes.subarray(RESERVED, HEADER), RESERVED);
        demand(Buffer.from(again).equals(bytes), 'a list that encodes to other bytes');
      },
    };
  },
};
