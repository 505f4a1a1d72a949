// Compiles what a start imports, by the very Python of a Worker, so that a start takes a third of the CPU
// (docs/cloudflare.md). Run it again after each change of python_modules, before `wrangler deploy`:
//
//     npm install --no-save pyodide@314.0.6 && node compile.mjs
import { loadPyodide } from "pyodide";

const python = await loadPyodide({ env: { HOME: "/", PYTHONNODEBUGRANGES: "1" } }); // lines are kept, columns are not
python.FS.mkdir("/python_modules");
python.mountNodeFS("/python_modules", "python_modules");
python.runPython(`
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, "/python_modules")
from understudy.cloudflare.compiling import compile_start

print("compiled: %d modules; %d stay source" % compile_start(Path("/python_modules")))
`);
