// What the generator reads of google/protobuf/descriptor.proto and google/protobuf/compiler/plugin.proto. The numbers
// are field numbers of those files.

struct CodeGeneratorRequest {
  var filesToGenerate: [String] = []
  var parameter = ""
  var files: [FileDescriptor] = []

  init(_ bytes: [UInt8]) throws {
    for field in try wireFields(bytes[...]) {
      switch field.number {
      case 1: filesToGenerate.append(field.value.string)
      case 2: parameter = field.value.string
      case 15: files.append(try FileDescriptor(field.value.bytes))
      default: break
      }
    }
  }
}

struct FileDescriptor {
  var name = ""
  var package = ""
  var syntax = "proto2"
  var messages: [MessageDescriptor] = []
  var enums: [EnumDescriptor] = []
  var services: [ServiceDescriptor] = []
  /// The FileDescriptorProto as protoc sent it, field by field, without the comments (source_code_info) and the options,
  /// which are for generators of other languages.
  var serialized: [ArraySlice<UInt8>] = []

  init(_ bytes: ArraySlice<UInt8>) throws {
    let fields = try wireFields(bytes)
    serialized = fields.filter { $0.number != 8 && $0.number != 9 }.map(\.whole)
    var comments = Comments()
    for field in fields where field.number == 9 { comments = try Comments(field.value.bytes) }
    for field in fields {
      switch field.number {
      case 1: name = field.value.string
      case 2: package = field.value.string
      case 4: messages.append(try MessageDescriptor(field.value.bytes, path: [4, messages.count], comments))
      case 5: enums.append(try EnumDescriptor(field.value.bytes, path: [5, enums.count], comments))
      case 6: services.append(try ServiceDescriptor(field.value.bytes, path: [6, services.count], comments))
      case 12: syntax = field.value.string
      default: break
      }
    }
  }
}

struct MessageDescriptor {
  var name = ""
  var documentation: [String]
  var fields: [FieldDescriptor] = []
  var messages: [MessageDescriptor] = []
  var enums: [EnumDescriptor] = []
  var oneofs: [OneofDescriptor] = []
  var isMapEntry = false

  init(_ bytes: ArraySlice<UInt8>, path: [Int], _ comments: Comments) throws {
    documentation = comments[path]
    for field in try wireFields(bytes) {
      let value = field.value
      switch field.number {
      case 1: name = value.string
      case 2: fields.append(try FieldDescriptor(value.bytes, path: path + [2, fields.count], comments))
      case 3: messages.append(try MessageDescriptor(value.bytes, path: path + [3, messages.count], comments))
      case 4: enums.append(try EnumDescriptor(value.bytes, path: path + [4, enums.count], comments))
      case 7: isMapEntry = try wireFields(value.bytes).contains { $0.number == 7 && $0.value.integer != 0 }
      case 8: oneofs.append(try OneofDescriptor(value.bytes, path: path + [8, oneofs.count], comments))
      default: break
      }
    }
  }
}

struct OneofDescriptor {
  var name = ""
  var documentation: [String]

  init(_ bytes: ArraySlice<UInt8>, path: [Int], _ comments: Comments) throws {
    documentation = comments[path]
    for field in try wireFields(bytes) where field.number == 1 { name = field.value.string }
  }
}

/// The types of FieldDescriptorProto that proto3 has, without groups.
enum FieldType: Int {
  case double = 1
  case float, int64, uint64, int32, fixed64, fixed32, bool, string
  case message = 11
  case bytes, uint32, enumeration, sfixed32, sfixed64, sint32, sint64
}

struct FieldDescriptor {
  var name = ""
  var jsonName = ""
  var number = 0
  var documentation: [String]
  var type = FieldType.int32
  /// The full name of the message or enum, without the leading dot.
  var typeName = ""
  var isRepeated = false
  var isProto3Optional = false
  var oneofIndex: Int?

  init(_ bytes: ArraySlice<UInt8>, path: [Int], _ comments: Comments) throws {
    documentation = comments[path]
    for field in try wireFields(bytes) {
      switch field.number {
      case 1: name = field.value.string
      case 3: number = field.value.integer
      case 4: isRepeated = field.value.integer == 3
      case 5:
        guard let known = FieldType(rawValue: field.value.integer) else {
          throw Unsupported("field type \(field.value.integer)")
        }
        type = known
      case 6: typeName = String(field.value.string.drop { $0 == "." })
      case 9: oneofIndex = field.value.integer
      case 10: jsonName = field.value.string
      case 17: isProto3Optional = field.value.integer != 0
      default: break
      }
    }
  }
}

struct EnumDescriptor {
  struct Value {
    var name: String
    var number: Int32
    var documentation: [String]
  }

  var name = ""
  var documentation: [String]
  var values: [Value] = []

  init(_ bytes: ArraySlice<UInt8>, path: [Int], _ comments: Comments) throws {
    documentation = comments[path]
    for field in try wireFields(bytes) {
      switch field.number {
      case 1: name = field.value.string
      case 2:
        var value = Value(name: "", number: 0, documentation: comments[path + [2, values.count]])
        for part in try wireFields(field.value.bytes) {
          if part.number == 1 { value.name = part.value.string }
          if part.number == 2 { value.number = Int32(truncatingIfNeeded: part.value.integer) }
        }
        values.append(value)
      default: break
      }
    }
  }
}

struct ServiceDescriptor {
  struct Method {
    var name = ""
    var input = ""
    var output = ""
    var clientStreams = false
    var serverStreams = false
    var documentation: [String] = []
  }

  var name = ""
  var documentation: [String]
  var methods: [Method] = []

  init(_ bytes: ArraySlice<UInt8>, path: [Int], _ comments: Comments) throws {
    documentation = comments[path]
    for field in try wireFields(bytes) {
      switch field.number {
      case 1: name = field.value.string
      case 2:
        var method = Method(documentation: comments[path + [2, methods.count]])
        for part in try wireFields(field.value.bytes) {
          switch part.number {
          case 1: method.name = part.value.string
          case 2: method.input = String(part.value.string.drop { $0 == "." })
          case 3: method.output = String(part.value.string.drop { $0 == "." })
          case 5: method.clientStreams = part.value.integer != 0
          case 6: method.serverStreams = part.value.integer != 0
          default: break
          }
        }
        methods.append(method)
      default: break
      }
    }
  }
}

/// The comments of a file, by the path of what they belong to (SourceCodeInfo.Location.path).
struct Comments {
  private var lines: [[Int]: [String]] = [:]

  init() {}

  init(_ bytes: ArraySlice<UInt8>) throws {
    for location in try wireFields(bytes) where location.number == 1 {
      var path: [Int] = []
      var text: [String] = []
      for field in try wireFields(location.value.bytes) {
        switch field.number {
        case 1: path += try packedVarints(field.value.bytes)
        case 3, 4: text += Self.split(field.value.string)
        default: break
        }
      }
      if !text.isEmpty { lines[path] = text }
    }
  }

  subscript(path: [Int]) -> [String] { lines[path] ?? [] }

  private static func split(_ comment: String) -> [String] {
    var lines = comment.split(separator: "\n", omittingEmptySubsequences: false).map {
      String($0.first == " " ? $0.dropFirst() : $0)
    }
    while lines.last?.isEmpty == true { lines.removeLast() }
    return lines
  }
}
