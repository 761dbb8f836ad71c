import Testing

@testable import Arbitration

/// What tables find their entries by.
@Suite struct Keys {
  @Test func equalTextsAreOneKeyHoweverTheyAreWritten() {
    for (one, other) in [("caf\u{E9}-1", "cafe\u{301}-1"), ("\u{212B}", "A\u{30A}"), ("host-1\u{212A}", "host-1K")] {
      #expect(one == other)
      #expect(one.scattered == other.scattered)
    }
  }

  @Test func whatUnicodeHoldsEqualToASCIIHasItsHash() {
    let ascii = Set((0..<0x80).map { String(Unicode.Scalar($0)) })
    var found = 0
    // Those that stand for another one all lie in the first three planes.
    for value in UInt32(0x80)..<0x3_0000 {
      guard let scalar = Unicode.Scalar(value), let index = ascii.firstIndex(of: String(scalar)) else { continue }
      #expect(String(scalar).scattered == ascii[index].scattered)
      found += 1
    }
    #expect(found == 3)
  }

  @Test(arguments: 0...40)
  func textsOfOneLengthAreToldApart(length: Int) {
    let start = String(repeating: "x", count: length)
    var map = Map<String, Int>()
    for place in 0...length {
      var text = Array(start.utf8)
      if place < length { text[place] = UInt8(ascii: "y") }
      map[String(decoding: text, as: UTF8.self)] = place
    }
    #expect(map.count == length + 1)
    #expect(map[start] == length)
    #expect(Set(map.keys.map(\.scattered)).count == length + 1)
    map[start] = nil
    #expect(map[start] == nil)
    #expect(map.values.sorted() == Array(0..<length))
  }
}
