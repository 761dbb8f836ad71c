/// What is wrong with the bytes of a string field.
enum StringFault {
  case embeddedNUL
  case invalidUTF8
}

/// Looks for the two things that would make a C string differ from what was sent: a NUL, and what is no UTF-8.
func fault(inString bytes: UnsafeRawBufferPointer) -> StringFault? {
  guard let base = bytes.baseAddress else { return nil }
  var offset = 0
  // Eight bytes at a time, while all of them are ASCII and none is zero.
  while offset + 8 <= bytes.count {
    let word = base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    let zeroOrHigh = (word &- 0x0101_0101_0101_0101) | word
    if zeroOrHigh & 0x8080_8080_8080_8080 != 0 { break }
    offset += 8
  }
  while offset < bytes.count {
    let first = bytes[offset]
    if first == 0 { return .embeddedNUL }
    guard let length = sequenceLength(bytes, at: offset, first: first) else { return .invalidUTF8 }
    offset += length
  }
  return nil
}

/// The length of the well-formed sequence at `offset` (Unicode 15, table 3-7), nil if there is none.
private func sequenceLength(_ bytes: UnsafeRawBufferPointer, at offset: Int, first: UInt8) -> Int? {
  let length: Int
  var second: ClosedRange<UInt8> = 0x80...0xBF
  switch first {
  case 0x01...0x7F: return 1
  case 0xC2...0xDF: length = 2
  case 0xE0: (length, second) = (3, 0xA0...0xBF)
  case 0xED: (length, second) = (3, 0x80...0x9F)
  case 0xE1...0xEC, 0xEE...0xEF: length = 3
  case 0xF0: (length, second) = (4, 0x90...0xBF)
  case 0xF1...0xF3: length = 4
  case 0xF4: (length, second) = (4, 0x80...0x8F)
  default: return nil
  }
  guard offset + length <= bytes.count, second.contains(bytes[offset + 1]) else { return nil }
  for index in 2..<max(2, length) where !(0x80...0xBF).contains(bytes[offset + index]) { return nil }
  return length
}
