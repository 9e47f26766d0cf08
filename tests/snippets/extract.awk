# awk -v out=DIRECTORY -v stem=NAME -f extract.awk FILE.md
# Writes the ```cpp blocks of a Markdown file as programs DIRECTORY/NAME_LINE.cpp and prints "NAME_LINE" or
# "NAME_LINE norun" for each. CMakeLists.txt tells the conventions.

function begin_code(kind) {
  collecting = kind
  if (kind == "block") { words = $0; sub(/^```cpp */, "", words); start = NR; main = 0 }
}

# An #include goes to the top of the file, the rest stays where it is.
function add(line) {
  if (line ~ /^ *#include/) { includes = includes line "\n"; line = "" }
  if (line ~ /^int main\(/) main = 1
  if (collecting == "given") given = given line "\n"; else code = code line "\n"
}

function write_program(    file, directive) {
  file = out "/" stem "_" start ".cpp"
  directive = sprintf("#line %d \"%s\"\n", start + 1, FILENAME)
  if (main) printf "%s%s%s%s", includes, given, directive, code > file
  else {
    printf "#include <adjoint/adjoint.hpp>\n#include <iostream>\n%s", includes > file
    print "namespace ad = adjoint;" > file
    if (words ~ /global/) printf "%s%s%sint main() {}\n", given, directive, code > file
    else printf "int main() {\n%s%s%s}\n", given, directive, code > file
  }
  close(file)
  print stem "_" start (words ~ /norun/ ? " norun" : "")
  includes = given = code = ""
}

collecting == "block" && /^```/   { write_program(); collecting = ""; next }
collecting == "given" && /^-->/   { collecting = ""; next }
collecting != ""                  { add($0); next }
/^```cpp( |$)/                    { begin_code("block"); next }
/^<!-- given *$/                  { begin_code("given"); next }
END { if (collecting != "") { print FILENAME ": a block is not closed" > "/dev/stderr"; exit 1 } }
