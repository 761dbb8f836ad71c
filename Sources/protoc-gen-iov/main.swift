// protoc-gen-iov: a protoc plugin that writes the Swift face of messages that protoc-c lays out in C, and stubs.
//
//   protoc --plugin=protoc-gen-iov --iov_out=DIR --iov_opt=PARTS x.proto    writes DIR/x.generated.swift
//
// PARTS names what goes into the file, one or several, with commas between:
//
//   messages      the messages and enums as Swift values
//   services      the client and server stubs; without `messages` they import the module Messages
//   descriptors   the file's description for server reflection; alone, and named after the whole path. all.generated.swift
//                 lists those of one run
//
//
// protoc writes a CodeGeneratorRequest to the standard input and reads a CodeGeneratorResponse from the standard output.
import Glibc

func readStandardInput() -> [UInt8] {
  var input: [UInt8] = []
  while true {
    let chunk = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
      count = max(0, read(STDIN_FILENO, buffer.baseAddress, buffer.count))
    }
    if chunk.isEmpty { return input }
    input += chunk
  }
}

func writeStandardOutput(_ bytes: [UInt8]) {
  var rest = bytes[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    guard count > 0 else { exit(1) }
    rest = rest.dropFirst(count)
  }
}

/// What a generated file can hold.
enum Part: String {
  case messages, services, descriptors
}

/// The parts that `--iov_opt` names.
func parts(_ parameter: String) throws -> Set<Part> {
  let parts = try parameter.split(separator: ",").map { name in
    guard let part = Part(rawValue: String(name)) else {
      throw Unsupported("unknown part '\(name)'; there are messages, services and descriptors")
    }
    return part
  }
  guard !parts.isEmpty else { throw Unsupported("no --iov_opt: messages, services, messages,services or descriptors") }
  guard parts == [.descriptors] || !parts.contains(.descriptors) else {
    throw Unsupported("descriptors stand in a file of their own")
  }
  return Set(parts)
}

/// nil where the file would hold nothing.
func generatedText(_ file: FileDescriptor, parts: Set<Part>, types: TypeTable) throws -> String? {
  if parts.contains(.descriptors) { return DescriptorGenerator(file).text }
  guard file.syntax == "proto3" else { throw Unsupported("\(file.name) is not proto3") }
  let writesMessages = parts.contains(.messages) && !(file.messages.isEmpty && file.enums.isEmpty)
  let writesServices = parts.contains(.services) && !file.services.isEmpty
  guard writesMessages || writesServices else { return nil }
  var imports: [String] = []
  if writesMessages { imports += ["import CMessages", "import CProtobufC", "import ProtobufRuntime"] }
  if writesServices { imports += ["import MeshRPC"] + (parts.contains(.messages) ? [] : ["import Messages"]) }
  var source = fileHead(file.name, imports: imports)
  if writesMessages { try writeMessages(file, types: types, &source) }
  if writesServices {
    for service in file.services {
      try ServiceGenerator(service, package: file.package, types: types).write(&source)
    }
  }
  return source.text
}

func writeMessages(_ file: FileDescriptor, types: TypeTable, _ source: inout SourceText) throws {
  for enumeration in file.enums {
    source.line()
    EnumGenerator(enumeration).write(&source)
  }
  for message in file.messages {
    let generator = try MessageGenerator(message, scope: file.package, types: types)
    source.line()
    try generator.writeType(&source)
    try generator.writeExtensions(&source)
  }
}

/// The file that is generated beside the others of its target. Names are unique within a package; descriptors of all
/// packages stand in one target.
func outputName(_ proto: String, parts: Set<Part>) -> String {
  let path = proto.hasSuffix(".proto") ? String(proto.dropLast(6)) : proto
  let components = path.split(separator: "/")
  if parts.contains(.descriptors) { return components.joined(separator: ".") + ".generated.swift" }
  return (components.last.map(String.init) ?? path) + ".generated.swift"
}

func respond(to request: CodeGeneratorRequest) throws -> WireWriter {
  var response = WireWriter()
  let types = TypeTable(request.files)
  let parts = try parts(request.parameter)
  for file in request.files where request.filesToGenerate.contains(file.name) {
    guard let text = try generatedText(file, parts: parts, types: types) else { continue }
    var output = WireWriter()
    output.append(1, outputName(file.name, parts: parts).utf8)
    output.append(15, text.utf8)
    response.append(15, output.bytes)
  }
  if parts.contains(.descriptors) {
    let files = request.files.filter { request.filesToGenerate.contains($0.name) }
    var output = WireWriter()
    output.append(1, "all.generated.swift".utf8)
    output.append(15, DescriptorGenerator.list(of: files).utf8)
    response.append(15, output.bytes)
  }
  return response
}

do {
  writeStandardOutput(try respond(to: try CodeGeneratorRequest(readStandardInput())).bytes)
} catch let error as Unsupported {
  var response = WireWriter()
  response.append(1, error.message.utf8)
  writeStandardOutput(response.bytes)
} catch {
  var response = WireWriter()
  response.append(1, "the request is malformed".utf8)
  writeStandardOutput(response.bytes)
}
