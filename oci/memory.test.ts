import { storageContract } from './contract.ts';
import { MemoryTarget } from './memory.ts';

storageContract('memory', async () => ({ target: new MemoryTarget() }));
