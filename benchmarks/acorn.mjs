// Judges modules: a JSON string a line in, `null` or acorn's message as JSON a line out.
// Arguments: the folder that acorn is installed in, the edition of ECMAScript.
import {createRequire} from 'node:module';
import {createInterface} from 'node:readline';

const [folder, edition] = process.argv.slice(2);
const {parse} = createRequire(`${folder}/`)('acorn');
const options = {ecmaVersion: Number(edition) || edition, sourceType: 'module'};

for await (const line of createInterface({input: process.stdin})) {
    let message = null;
    try {
        parse(JSON.parse(line), options);
    } catch (error) {
        message = String(error);
    }
    console.log(JSON.stringify(message));
}
