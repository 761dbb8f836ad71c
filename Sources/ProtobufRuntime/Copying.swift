// What generated code copies unpacked C structs with. Strings have been checked before they were unpacked.

import CProtobufC

@inlinable
public func copiedString(_ string: UnsafeMutablePointer<CChar>?) -> String {
  guard let string, string.pointee != 0 else { return "" }
  return String(cString: string)
}

@inlinable
public func copiedBytes(_ bytes: ProtobufCBinaryData) -> [UInt8] {
  Array(UnsafeBufferPointer(start: bytes.data, count: bytes.len))
}

@inlinable
public func copied<Element, Value>(
  _ count: Int, _ elements: UnsafeMutablePointer<Element>?, _ convert: (Element) -> Value
) -> [Value] {
  guard let elements, count > 0 else { return [] }
  return UnsafeBufferPointer(start: elements, count: count).map(convert)
}

@inlinable
public func copied<Element, Value>(
  _ count: Int, _ elements: UnsafeMutablePointer<UnsafeMutablePointer<Element>?>?,
  _ convert: (UnsafeMutablePointer<Element>) -> Value
) -> [Value] {
  guard let elements, count > 0 else { return [] }
  return UnsafeBufferPointer(start: elements, count: count).compactMap { $0.map(convert) }
}

/// A key that comes twice has its last value, as the protobuf specification says.
@inlinable
public func copiedMap<Element, Key: Hashable, Value>(
  _ count: Int, _ elements: UnsafeMutablePointer<UnsafeMutablePointer<Element>?>?,
  _ convert: (UnsafeMutablePointer<Element>) -> (Key, Value)
) -> [Key: Value] {
  guard let elements, count > 0 else { return [:] }
  var result: [Key: Value] = [:]
  result.reserveCapacity(count)
  for element in UnsafeBufferPointer(start: elements, count: count) {
    guard let element else { continue }
    let (key, value) = convert(element)
    result[key] = value
  }
  return result
}
