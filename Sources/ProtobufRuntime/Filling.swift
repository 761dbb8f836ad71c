// What generated code lays out C structs with.

import CProtobufC
import Glibc

extension MessageArena {
  @inlinable
  public mutating func presentMessage<Value: CLayoutMessage>(_ value: Value) -> UnsafeMutablePointer<Value.Layout> {
    let layout = allocate(Value.Layout.self)
    Value.initialize(layout)
    value.fill(layout, in: &self)
    return layout
  }

  @inlinable
  public mutating func message<Value: CLayoutMessage>(_ value: Value?) -> UnsafeMutablePointer<Value.Layout>? {
    guard let value else { return nil }
    return presentMessage(value)
  }

  /// A C string; nil for the empty one, which is not written.
  @inlinable
  public mutating func string(_ value: String) -> UnsafeMutablePointer<CChar>? {
    value.isEmpty ? nil : presentString(value)
  }

  /// A C string that is written also if it is empty. A NUL, which decoding refuses and JSON too, would cut the string
  /// off; it is written as U+FFFD.
  public mutating func presentString(_ value: String) -> UnsafeMutablePointer<CChar> {
    var value = value
    return value.withUTF8 { utf8 in
      if let base = utf8.baseAddress, memchr(base, 0, utf8.count) != nil {
        return presentString(String(value: utf8, replacingNULWith: "\u{FFFD}"))
      }
      let copy = allocate(CChar.self, count: utf8.count + 1)
      if let base = utf8.baseAddress { memcpy(copy, base, utf8.count) }
      copy[utf8.count] = 0
      return copy
    }
  }

  /// Bytes of a field. Large ones are not copied: the message that is laid out holds the array, unchanged, for as long as
  /// the arena is used, and an array of integers never moves while it is held.
  public mutating func bytes(_ value: [UInt8]) -> ProtobufCBinaryData {
    guard !value.isEmpty else { return ProtobufCBinaryData() }
    if value.count >= 1024 {
      let held = value.withUnsafeBufferPointer { UnsafeMutablePointer(mutating: $0.baseAddress) }
      return ProtobufCBinaryData(len: value.count, data: held)
    }
    let copy = allocate(UInt8.self, count: value.count)
    value.withUnsafeBytes { _ = memcpy(copy, $0.baseAddress!, $0.count) }
    return ProtobufCBinaryData(len: value.count, data: copy)
  }

  @inlinable
  public mutating func list<Value, Element>(
    _ values: [Value], _ convert: (Value, inout MessageArena) -> Element
  ) -> (Int, UnsafeMutablePointer<Element>?) {
    guard !values.isEmpty else { return (0, nil) }
    let elements = allocate(Element.self, count: values.count)
    for index in values.indices {
      (elements + index).initialize(to: convert(values[index], &self))
    }
    return (values.count, elements)
  }

  /// The entries of a map, by key: the same map is always the same bytes.
  @inlinable
  public mutating func map<Key: Comparable, Value, Element>(
    _ values: [Key: Value], _ convert: ((key: Key, value: Value), inout MessageArena) -> UnsafeMutablePointer<Element>
  ) -> (Int, UnsafeMutablePointer<UnsafeMutablePointer<Element>?>?) {
    guard !values.isEmpty else { return (0, nil) }
    return list(values.sorted { $0.key < $1.key }) { entry, arena in convert(entry, &arena) }
  }
}

extension String {
  fileprivate init(value utf8: UnsafeBufferPointer<UInt8>, replacingNULWith replacement: Character) {
    self.init(String(decoding: utf8, as: UTF8.self).map { $0 == "\0" ? replacement : $0 })
  }
}
