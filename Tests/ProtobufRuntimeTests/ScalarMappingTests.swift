import Foundation
import ProtobufRuntime
import Testing

/// The scalars that no message of the vocabulary has yet.
@Suite struct ScalarMappingTests {
  /// Brings one mapped value through JSON.
  private struct Carrier<Value: JSONMapped & Equatable>: Codable {
    var value: Value

    init(_ value: Value) { self.value = value }
    init(from decoder: any Decoder) throws { value = try Value(json: decoder) }
    func encode(to encoder: any Encoder) throws { try value.encodeJSON(to: encoder) }
  }

  private func json<Value: JSONMapped & Equatable>(_ value: Value) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    return String(decoding: try encoder.encode([Carrier(value)]), as: UTF8.self)
  }

  private func parse<Value: JSONMapped & Equatable>(_ text: String, as type: Value.Type) throws -> Value? {
    try JSONDecoder().decode([Carrier<Value>].self, from: Data(text.utf8)).first?.value
  }

  @Test(
    arguments: [
      ([], ""), ([0], "AA=="), ([0xff, 0xef], "/+8="), ([1, 2, 3], "AQID"), ([1, 2, 3, 4], "AQIDBA=="),
    ] as [([UInt8], String)])
  func bytesAreBase64(bytes: [UInt8], text: String) throws {
    #expect(try json(bytes) == "[\"\(text)\"]")
    #expect(try parse("[\"\(text)\"]", as: [UInt8].self) == bytes)
  }

  @Test func base64OfTheURLAlphabetAndWithoutPaddingIsTaken() throws {
    #expect(try parse(#"["_-8"]"#, as: [UInt8].self) == [0xff, 0xef])
    #expect(throws: DecodingError.self) { try parse(#"["A"]"#, as: [UInt8].self) }
    #expect(throws: DecodingError.self) { try parse(#"["A*=="]"#, as: [UInt8].self) }
    #expect(throws: DecodingError.self) { try parse(#"["A==="]"#, as: [UInt8].self) }
  }

  @Test func floatingPointNumbersWithoutADigitAreStrings() throws {
    #expect(try json(Double.infinity) == #"["Infinity"]"#)
    #expect(try json(-Float.infinity) == #"["-Infinity"]"#)
    #expect(try parse(#"["NaN"]"#, as: Double.self)?.isNaN == true)
    #expect(try parse(#"["1.5"]"#, as: Double.self) == 1.5)
    #expect(try parse("[2]", as: Float.self) == 2)
    #expect(throws: DecodingError.self) { try parse(#"["inf"]"#, as: Double.self) }
  }

  @Test func onlyTheDefaultIsLeftOut() {
    #expect(0.0.isProtobufDefault && !(-0.0).isProtobufDefault)
    #expect("".isProtobufDefault && !" ".isProtobufDefault)
    #expect([UInt8]().isProtobufDefault && false.isProtobufDefault && Int32(0).isProtobufDefault)
  }

  @Test func int64IsAString() throws {
    #expect(try json(Int64.min) == "[\"-9223372036854775808\"]")
    #expect(try parse("[\"-9223372036854775808\"]", as: Int64.self) == .min)
    #expect(try json(Int32.min) == "[-2147483648]")
  }
}
