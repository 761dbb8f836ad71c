#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What a value is in JSON: the common ground of the forms that programs read. A message stands in it by the protobuf JSON
/// mapping.
indirect enum JSONTree: Equatable, Decodable {
  case null
  case boolean(Bool)
  case integer(Int64)
  case fraction(Double)
  case text(String)
  case list([JSONTree])
  case object([String: JSONTree])

  init(_ value: some Encodable) throws {
    self = try JSONDecoder().decode(JSONTree.self, from: JSONEncoder().encode(value))
  }

  init(from decoder: any Decoder) throws {
    if let object = try? decoder.container(keyedBy: Key.self) {
      let entries = try object.allKeys.map { ($0.stringValue, try object.decode(JSONTree.self, forKey: $0)) }
      self = .object(Dictionary(entries) { first, _ in first })
      return
    }
    if var list = try? decoder.unkeyedContainer() {
      var elements: [JSONTree] = []
      while !list.isAtEnd { elements.append(try list.decode(JSONTree.self)) }
      self = .list(elements)
      return
    }
    let value = try decoder.singleValueContainer()
    if value.decodeNil() {
      self = .null
    } else if let boolean = try? value.decode(Bool.self) {
      self = .boolean(boolean)
    } else if let integer = try? value.decode(Int64.self) {
      self = .integer(integer)
    } else if let fraction = try? value.decode(Double.self) {
      self = .fraction(fraction)
    } else {
      self = .text(try value.decode(String.self))
    }
  }

  private struct Key: CodingKey {
    let stringValue: String
    let intValue: Int? = nil

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
