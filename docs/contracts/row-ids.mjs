// Recomputes schemas/vectors/row-ids.json from the inputs in it, with nothing but what JavaScript
// brings along. `node row-ids.mjs` fails if a value differs; `node row-ids.mjs --write` fills them in.
import {createHash}                  from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';

const FILE = new URL('../../schemas/vectors/row-ids.json', import.meta.url);

const FINGERPRINT_KEYS = ['type', 'name', 'description', 'content', 'extends', 'configType', 'params', 'returns'];

const sha256 = text => createHash('sha256').update(text, 'utf8').digest('hex');

// The JSON text of the named fields, in this order; absent ones are left out.
const textOf = (object, keys) =>
    JSON.stringify(Object.fromEntries(keys.filter(key => key in object).map(key => [key, object[key]])));

function results({tenantId, repoSlug, visibility, originAgentIdentity, chunk}) {
    const fingerprintText = textOf(chunk, chunk.hashInputs ?? FINGERPRINT_KEYS);
    const fingerprint     = sha256(fingerprintText);
    const isPrivate       = visibility === 'private';

    if (tenantId === 'neo-shared' && repoSlug === 'neo' && !isPrivate) {
        return {fingerprintText, fingerprint, id: fingerprint};
    }

    // JSON.stringify leaves out a member that is undefined.
    const idText = JSON.stringify({
        tenantId,
        repoSlug,
        hash  : fingerprint,
        type  : chunk.type || chunk.kind,
        name  : chunk.name,
        source: chunk.source ?? chunk.sourcePath,
        originAgentIdentity: isPrivate ? originAgentIdentity : undefined
    });

    return {fingerprintText, fingerprint, idText, id: sha256(idText)};
}

const file     = JSON.parse(readFileSync(FILE, 'utf8'));
const computed = file.vectors.map(({name, tenantId, repoSlug, visibility, originAgentIdentity, chunk}) => {
    const given = {name, tenantId, repoSlug, visibility, originAgentIdentity, chunk};
    return {...given, ...results(given)};
});

if (process.argv.includes('--write')) {
    writeFileSync(FILE, JSON.stringify({...file, vectors: computed}, null, 2) + '\n');
} else {
    const wrong = computed.filter((vector, index) => JSON.stringify(vector) !== JSON.stringify(file.vectors[index]));
    wrong.forEach(vector => console.error('differs:', vector.name));
    process.exitCode = wrong.length ? 1 : 0;
}
