import Glibc

/// Header fields in order, packed into one array of bytes: a request costs one allocation, not two for each field.
///
/// Names are in lower case, pseudo-headers with their colon. Values are bytes: HTTP/2 promises no encoding.
public struct HeaderList: Sendable, Hashable {
  /// For each field: the lengths of its name and of its value, 4 bytes each, then both.
  private var storage: [UInt8] = []
  public private(set) var count = 0
  /// As HTTP/2 counts it: names and values, and 32 for each field (RFC 9113 §6.5.2).
  public private(set) var listByteCount = 0

  private static let prefixByteCount = 8

  public init() {}

  public init(_ fields: [(name: String, value: String)]) {
    for (name, value) in fields { append(name, value) }
  }

  public mutating func append(_ name: String, _ value: String) {
    var (name, value) = (name, value)
    name.withUTF8 { name in
      value.withUTF8 { append(UnsafeRawBufferPointer(name), UnsafeRawBufferPointer($0)) }
    }
  }

  /// A name beyond 65,535 bytes is left out: no peer would take it.
  public mutating func append(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    guard let nameLength = UInt16(exactly: name.count), let valueLength = UInt32(exactly: value.count) else { return }
    if storage.isEmpty { storage.reserveCapacity(320) }
    withUnsafeBytes(of: (UInt32(nameLength), valueLength)) { storage.append(contentsOf: $0) }
    storage.append(contentsOf: name)
    storage.append(contentsOf: value)
    count += 1
    listByteCount += name.count + value.count + 32
  }

  public mutating func append(_ other: HeaderList) {
    storage.append(contentsOf: other.storage)
    count += other.count
    listByteCount += other.listByteCount
  }

  /// Hands each name and value to `body`; they are valid only inside.
  @inline(__always)
  public func forEach(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
    withAll(body) {}
  }

  /// Hands each name and value to `body`; they are valid until `then` has returned.
  @inline(__always)
  func withAll<Result>(
    _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void, then: () -> Result
  ) -> Result {
    storage.withUnsafeBytes { bytes in
      var next = 0
      while next < bytes.count {
        let nameStart = next + Self.prefixByteCount
        let valueStart = nameStart + Int(bytes.loadUnaligned(fromByteOffset: next, as: UInt32.self))
        next = valueStart + Int(bytes.loadUnaligned(fromByteOffset: next + 4, as: UInt32.self))
        body(
          UnsafeRawBufferPointer(rebasing: bytes[nameStart..<valueStart]),
          UnsafeRawBufferPointer(rebasing: bytes[valueStart..<next]))
      }
      return then()
    }
  }

  /// The first value under a name; bytes that are not UTF-8 are replaced.
  public subscript(name: StaticString) -> String? {
    var found: String?
    forEach { candidate, value in
      if found == nil, candidate.equals(name) { found = String(decoding: value, as: UTF8.self) }
    }
    return found
  }

  /// The fields as text, for whom speed does not matter.
  public var fields: [(name: String, value: String)] {
    var fields: [(name: String, value: String)] = []
    forEach { fields.append((String(decoding: $0, as: UTF8.self), String(decoding: $1, as: UTF8.self))) }
    return fields
  }
}

extension UnsafeRawBufferPointer {
  /// True if these are the bytes of `text`.
  @inline(__always)
  public func equals(_ text: StaticString) -> Bool {
    guard count == text.utf8CodeUnitCount else { return false }
    guard let baseAddress else { return true }
    return memcmp(baseAddress, text.utf8Start, count) == 0
  }

  /// True if these begin with the bytes of `text`.
  public func starts(with text: StaticString) -> Bool {
    count >= text.utf8CodeUnitCount
      && UnsafeRawBufferPointer(rebasing: self[..<text.utf8CodeUnitCount]).equals(text)
  }
}
