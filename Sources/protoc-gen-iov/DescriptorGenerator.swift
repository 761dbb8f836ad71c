/// Writes a file's serialized FileDescriptorProto into a string: one character of Latin 1 for each byte, so that names
/// can be read and a change of one field changes its lines alone.
struct DescriptorGenerator {
  private let file: FileDescriptor

  init(_ file: FileDescriptor) { self.file = file }

  var text: String {
    var source = fileHead(file.name, imports: ["import MeshServices"])
    source.line()
    source.block("extension FileDescriptor") { source in
      source.line("/// \(file.name)")
      source.line("public static let \(name) = FileDescriptor(")
      source.line("  latin1: \"\"\"")
      let lines = file.serialized.flatMap(literalLines)
      for line in lines.dropLast() { source.line("    \(line)\\") }
      source.line("    \(lines.last ?? "")")
      source.line("    \"\"\")")
    }
    return source.text
  }

  static func list(of files: [FileDescriptor]) -> String {
    var source = fileHead("all files of proto/", imports: ["import MeshServices"])
    source.line()
    source.block("extension FileDescriptor") { source in
      source.line("/// All files of proto/ and those of google/protobuf that they import.")
      source.block("public static var all: [FileDescriptor]") { source in
        source.line("[")
        for file in files.sorted(by: { $0.name < $1.name }) { source.line("  .\(DescriptorGenerator(file).name),") }
        source.line("]")
      }
    }
    return source.text
  }

  /// `iov/v1/claims.proto` → `iovV1Claims`.
  private var name: String {
    let path = file.name.hasSuffix(".proto") ? String(file.name.dropLast(6)) : file.name
    return lowerCamelCase(String(path.map { $0 == "/" ? "_" : $0 }))
  }

  /// The bytes as they stand in a string literal, in lines of bounded length.
  private func literalLines(_ bytes: ArraySlice<UInt8>) -> [String] {
    var lines: [String] = []
    var line = ""
    for byte in bytes {
      line += literal(byte)
      if line.count >= 90 {
        lines.append(line)
        line = ""
      }
    }
    if !line.isEmpty { lines.append(line) }
    return lines
  }

  private func literal(_ byte: UInt8) -> String {
    switch byte {
    case UInt8(ascii: "\\"), UInt8(ascii: "\""): "\\" + String(UnicodeScalar(byte))
    // A blank at the end of a line reads as none.
    case 0x21...0x7e: String(UnicodeScalar(byte))
    default: "\\u{" + String(byte, radix: 16) + "}"
    }
  }
}
