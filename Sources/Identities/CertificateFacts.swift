/// What a certificate says that whoever checks it compares: enough to tell what is wrong with a host's own one, in words,
/// before programs with TLS libraries of their own refuse it without. It checks no signature and is no ground for trust.
public struct CertificateFacts: Sendable, Hashable {
  /// Its parts in the order of the certificate, as GnuTLS and so QEMU write them: `O=iovmesh,OU=rack,OU=agent,CN=host-a`.
  /// Nil: it has parts that have no short name.
  public let subject: String?
  /// As their 4 or 16 bytes.
  public let ipAddresses: [[UInt8]]
  /// Seconds since 1970.
  public let notValidBefore: Int64
  public let notValidAfter: Int64
  /// Whether a server may show it (RFC 5280 §4.2.1.12): a certificate that names no uses is for all.
  public let isForServers: Bool

  /// The first certificate of a file in PEM; nil: there is none, or it is damaged.
  public init?(pem: String) {
    guard let bytes = Self.firstBlock(of: pem) else { return nil }
    self.init(der: bytes)
  }

  init?(der: [UInt8]) {
    var file = DERReader(der[...])
    guard var certificate = file.open(.sequence), var signed = certificate.open(.sequence) else { return nil }
    // Version, serial number, algorithm, issuer.
    if signed.tag == .explicit(0) { _ = signed.next() }
    guard signed.next() != nil, signed.next() != nil, signed.next() != nil else { return nil }
    guard var validity = signed.open(.sequence), let start = validity.next(), let end = validity.next(),
      let notValidBefore = Self.instant(start), let notValidAfter = Self.instant(end),
      let subject = signed.open(.sequence)
    else { return nil }
    self.notValidBefore = notValidBefore
    self.notValidAfter = notValidAfter
    self.subject = Self.text(ofName: subject)
    var (addresses, isForServers) = ([[UInt8]](), true)
    while let part = signed.next() {
      guard part.tag == .explicit(3) else { continue }
      var wrapped = DERReader(part.content)
      guard var extensions = wrapped.open(.sequence) else { return nil }
      while var one = extensions.open(.sequence) {
        guard let name = one.next(), let value = one.last(), value.tag == .octets else { return nil }
        switch Array(name.content) {
        case Self.alternativeNames: addresses = Self.addresses(in: value.content)
        case Self.extendedKeyUsage: isForServers = Self.namesServers(value.content)
        default: break
        }
      }
    }
    ipAddresses = addresses
    self.isForServers = isForServers
  }

  // MARK: Names

  private static func text(ofName name: DERReader) -> String? {
    var (name, parts) = (name, [String]())
    while var set = name.open(.set) {
      var attributes: [String] = []
      while var attribute = set.open(.sequence) {
        guard let type = attribute.next(), let label = labels[Array(type.content)], let value = attribute.next(),
          value.tag.isText, let text = String(validating: value.content, as: UTF8.self)
        else { return nil }
        attributes.append("\(label)=\(escaped(text))")
      }
      parts.append(attributes.joined(separator: "+"))
    }
    return name.isAtEnd ? parts.joined(separator: ",") : nil
  }

  /// RFC 4514 §2.4.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for (index, letter) in text.enumerated() {
      let isAtEdge = letter == " " && (index == 0 || index == text.count - 1) || letter == "#" && index == 0
      if isAtEdge || ",+\"\\<>;".contains(letter) { result += "\\" }
      result.append(letter)
    }
    return result
  }

  /// Object identifiers as DER has them (RFC 4514 §3, RFC 4519).
  private static let labels: [[UInt8]: String] = [
    [0x55, 4, 3]: "CN", [0x55, 4, 5]: "serialNumber", [0x55, 4, 6]: "C", [0x55, 4, 7]: "L", [0x55, 4, 8]: "ST",
    [0x55, 4, 9]: "street", [0x55, 4, 10]: "O", [0x55, 4, 11]: "OU",
    [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]: "UID",
    [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]: "DC",
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]: "EMAIL",
  ]

  // MARK: Extensions

  private static let alternativeNames: [UInt8] = [0x55, 0x1d, 0x11]
  private static let extendedKeyUsage: [UInt8] = [0x55, 0x1d, 0x25]

  private static func addresses(in bytes: ArraySlice<UInt8>) -> [[UInt8]] {
    var outer = DERReader(bytes)
    guard var names = outer.open(.sequence) else { return [] }
    var addresses: [[UInt8]] = []
    while let name = names.next() {
      if name.tag == .context(7), [4, 16].contains(name.content.count) { addresses.append(Array(name.content)) }
    }
    return addresses
  }

  /// id-kp-serverAuth, or any.
  private static func namesServers(_ bytes: ArraySlice<UInt8>) -> Bool {
    var outer = DERReader(bytes)
    guard var uses = outer.open(.sequence) else { return false }
    while let use = uses.next() {
      if [[0x2b, 6, 1, 5, 5, 7, 3, 1], [0x55, 0x1d, 0x25, 0]].contains(Array(use.content)) { return true }
    }
    return false
  }

  // MARK: Time and text

  /// UTCTime or GeneralizedTime in UTC (RFC 5280 §4.1.2.5).
  private static func instant(_ element: DERReader.Element) -> Int64? {
    guard element.tag == .utcTime || element.tag == .generalizedTime, element.content.last == UInt8(ascii: "Z") else {
      return nil
    }
    let digits = element.content.dropLast().map { Int64($0) - 0x30 }
    let yearLength = element.tag == .utcTime ? 2 : 4
    guard digits.count == yearLength + 10, digits.allSatisfy({ (0...9).contains($0) }) else { return nil }
    let written = digits[..<yearLength].reduce(0) { $0 * 10 + $1 }
    let rest = stride(from: yearLength, to: digits.count, by: 2).map { digits[$0] * 10 + digits[$0 + 1] }
    guard (1...12).contains(rest[0]), (1...31).contains(rest[1]) else { return nil }
    let year = yearLength == 4 ? written : written + (written < 50 ? 2000 : 1900)
    return ((days(year, rest[0], rest[1]) * 24 + rest[2]) * 60 + rest[3]) * 60 + rest[4]
  }

  /// Since 1970, in the calendar that begins its years in March, so that a leap day is a year's last.
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let year = month > 2 ? year : year - 1
    let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
    return 365 * year + year / 4 - year / 100 + year / 400 + dayOfYear - 719_468
  }

  private static func firstBlock(of pem: String) -> [UInt8]? {
    var lines = pem.split(whereSeparator: \.isNewline).drop { $0 != "-----BEGIN CERTIFICATE-----" }.dropFirst()
    var bytes: [UInt8] = []
    var (bits, count): (UInt32, Int) = (0, 0)
    while let line = lines.popFirst() {
      if line == "-----END CERTIFICATE-----" { return bytes }
      for letter in line.utf8 where letter != UInt8(ascii: "=") {
        guard let value = base64Value(letter) else { return nil }
        bits = bits << 6 | UInt32(value)
        count += 6
        guard count >= 8 else { continue }
        count -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return nil
  }

  private static func base64Value(_ letter: UInt8) -> UInt8? {
    switch letter {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): letter - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): letter - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): letter - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
