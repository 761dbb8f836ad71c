/// The body of a netlink message while it is written: fixed headers, then attributes, each on a 4-byte boundary.
public struct NetlinkPayload: Sendable {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  /// Appends a kernel structure as it lies in memory. Only for C structures without implicit padding that matters.
  public mutating func append<Header>(_ header: Header) {
    withUnsafeBytes(of: header) { bytes.append(contentsOf: $0) }
    pad()
  }

  public mutating func attribute(_ type: Int, _ value: some Collection<UInt8>) {
    attributeHeader(type, length: value.count)
    bytes.append(contentsOf: value)
    pad()
  }

  public mutating func attribute(_ type: Int, _ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value) { attribute(type, $0) }
  }

  public mutating func attribute(_ type: Int, bigEndian value: some FixedWidthInteger) {
    attribute(type, value.bigEndian)
  }

  /// A NUL-terminated string.
  public mutating func attribute(_ type: Int, _ value: String) {
    attribute(type, Array(value.utf8) + [0])
  }

  /// A structure as an attribute's value.
  public mutating func attribute<Structure>(_ type: Int, structure: Structure) {
    withUnsafeBytes(of: structure) { attribute(type, $0) }
  }

  /// An attribute that holds attributes. The flag is what newer kernel interfaces insist on and older ones ignore.
  public mutating func nested(_ type: Int, _ body: (inout NetlinkPayload) -> Void) {
    var inner = NetlinkPayload()
    body(&inner)
    attribute(type | 0x8000, inner.bytes)
  }

  private mutating func attributeHeader(_ type: Int, length: Int) {
    let total = UInt16(truncatingIfNeeded: length + 4)
    withUnsafeBytes(of: total) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: UInt16(truncatingIfNeeded: type)) { bytes.append(contentsOf: $0) }
  }

  private mutating func pad() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }
}
