// protoc-gen-iov: a protoc plugin that writes the Swift face of messages that protoc-c lays out in C.
//
//   protoc --plugin=protoc-gen-iov --iov_out=DIR x.proto                       the messages: x.generated.swift
//   protoc --plugin=protoc-gen-iov --iov_out=DIR --iov_opt=services x.proto    the client and server stubs
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

func messagesFile(_ file: FileDescriptor, types: TypeTable) throws -> String {
  var source = fileHead(file.name, imports: ["import CMessages", "import CProtobufC", "import ProtobufRuntime"])
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
  return source.text
}

func servicesFile(_ file: FileDescriptor, types: TypeTable) throws -> String? {
  guard !file.services.isEmpty else { return nil }
  var source = fileHead(file.name, imports: ["import MeshRPC", "import Messages"])
  for service in file.services {
    try ServiceGenerator(service, package: file.package, types: types).write(&source)
  }
  return source.text
}

/// The file that is generated beside the others of its folder: names are unique within a package.
func outputName(_ proto: String) -> String {
  let file = proto.split(separator: "/").last.map(String.init) ?? proto
  return (file.hasSuffix(".proto") ? String(file.dropLast(6)) : file) + ".generated.swift"
}

func respond(to request: CodeGeneratorRequest) throws -> WireWriter {
  var response = WireWriter()
  let types = TypeTable(request.files)
  for file in request.files where request.filesToGenerate.contains(file.name) {
    guard file.syntax == "proto3" else { throw Unsupported("\(file.name) is not proto3") }
    let text: String?
    switch request.parameter {
    case "": text = try messagesFile(file, types: types)
    case "services": text = try servicesFile(file, types: types)
    default: throw Unsupported("unknown parameter '\(request.parameter)'; there is only 'services'")
    }
    guard let text else { continue }
    var output = WireWriter()
    output.append(1, outputName(file.name).utf8)
    output.append(15, text.utf8)
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
