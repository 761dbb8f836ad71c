/// LOG SENSE for the cumulative values of a page (SPC-4, 6.8).
public struct LogSense<Answer>: SCSICommand {
  public let page: UInt8
  private let decode: @Sendable (LogPage) throws(MalformedAnswer) -> Answer

  init(page: UInt8, _ decode: @escaping @Sendable (LogPage) throws(MalformedAnswer) -> Answer) {
    self.page = page
    self.decode = decode
  }

  public var name: String { "LOG SENSE for page 0x\(hexadecimal(page, digits: 2))" }
  public var block: [UInt8] {
    var block: [UInt8] = [0x4d, 0, 0x40 | page, 0, 0, 0, 0, 0, 0, 0]
    block.put(bigEndian: Self.most, at: 7)
    return block
  }
  public var data: CommandData { .receive(atMost: Int(Self.most)) }
  private static var most: UInt16 { 8192 }

  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> Answer {
    try decode(try LogPage(AnswerBytes(answer.data), page: page))
  }
}

/// A page of parameters.
struct LogPage {
  var body: AnswerBytes

  init(_ bytes: AnswerBytes, page: UInt8) throws(MalformedAnswer) {
    let found = try bytes.byte(0) & 0x3f
    guard found == page else { throw MalformedAnswer("it is of page 0x\(hexadecimal(found, digits: 2))") }
    body = bytes.available(4, Int(try bytes.bigEndian(2, as: UInt16.self)))
  }

  /// By their codes. One that is cut off is left out.
  func parameters() throws(MalformedAnswer) -> [(code: UInt16, value: AnswerBytes)] {
    var parameters: [(UInt16, AnswerBytes)] = []
    var offset = 0
    while offset + 4 <= body.count, let value = try? body.part(offset + 4, Int(try body.byte(offset + 3))) {
      parameters.append((try body.bigEndian(offset), value))
      offset += 4 + value.count
    }
    return parameters
  }
}

extension LogSense where Answer == Set<UInt8> {
  public static var supportedPages: Self {
    Self(page: 0x00) { page throws(MalformedAnswer) in Set(page.body.bytes.map { $0 & 0x3f }) }
  }
}

extension LogSense where Answer == DriveTemperature {
  public static var temperature: Self {
    Self(page: 0x0d) { page throws(MalformedAnswer) in
      var temperature = DriveTemperature()
      for (code, value) in try page.parameters() {
        // 255: not known.
        guard let celsius = try? value.byte(1), celsius != 0xff else { continue }
        if code == 0 { temperature.celsius = celsius }
        if code == 1 { temperature.referenceCelsius = celsius }
      }
      return temperature
    }
  }
}

extension LogSense where Answer == DrivePrognosis {
  public static var informationalExceptions: Self {
    Self(page: 0x2f) { page throws(MalformedAnswer) in
      guard let general = try page.parameters().first(where: { $0.code == 0 })?.value else {
        throw MalformedAnswer("the general parameter is missing")
      }
      let code = SCSISense.AdditionalCode(try general.byte(0), try general.byte(1))
      let celsius = try? general.byte(2)
      return DrivePrognosis(code: code, celsius: celsius == 0xff ? nil : celsius)
    }
  }
}

extension LogSense where Answer == ErrorCounters {
  public static var writeErrors: Self { errors(page: 0x02) }
  public static var readErrors: Self { errors(page: 0x03) }

  private static func errors(page: UInt8) -> Self {
    Self(page: page) { page throws(MalformedAnswer) in
      var counters: [UInt16: UInt64] = [:]
      for (code, value) in try page.parameters() where (1...8).contains(value.count) {
        counters[code] = value.bytes.reduce(0) { $0 << 8 | UInt64($1) }
      }
      return ErrorCounters(
        correctedAtOnce: counters[0], correctedWithDelay: counters[1], corrected: counters[3],
        bytesProcessed: counters[5], uncorrected: counters[6])
    }
  }
}

extension LogSense where Answer == [SASPhyLog] {
  /// Of a SAS disk's own phys (SPL-3, 9.2.8.1).
  public static var sasPhys: Self {
    Self(page: 0x18) { page throws(MalformedAnswer) in
      var phys: [SASPhyLog] = []
      for (port, value) in try page.parameters() where try value.byte(0) & 0xf == 0x6 {
        var offset = 4
        for _ in 0..<(try value.byte(3)) {
          // Old disks leave the length at zero.
          let length = try value.byte(offset + 3)
          let size = length < 44 ? 48 : Int(length) + 4
          phys.append(try SASPhyLog(port: port, value.part(offset, min(size, value.count - offset))))
          offset += size
          guard offset < value.count else { break }
        }
      }
      return phys
    }
  }
}

public struct DriveTemperature: Sendable, Hashable {
  public var celsius: UInt8?
  /// The highest that the maker allows all the time.
  public var referenceCelsius: UInt8?
}

/// Whether a disk expects to fail.
public struct DrivePrognosis: Sendable, Hashable {
  /// 00/00: nothing to report. 5d/xx: a failure is predicted; 0b/xx: a warning.
  public var code: SCSISense.AdditionalCode
  public var celsius: UInt8?

  public var predictsFailure: Bool { code.code == 0x5d }
  public var warns: Bool { code.code == 0x0b }
}

/// Since the disk was made or the counters were set to zero; nil: it does not count that.
public struct ErrorCounters: Sendable, Hashable {
  public var correctedAtOnce: UInt64?
  public var correctedWithDelay: UInt64?
  public var corrected: UInt64?
  public var bytesProcessed: UInt64?
  public var uncorrected: UInt64?
}

/// A phy of a SAS disk as the disk sees it.
public struct SASPhyLog: Sendable, Hashable {
  public var relativeTargetPort: UInt16
  public var identifier: UInt8
  /// 8: 1.5 Gb/s, 9: 3, a: 6, b: 12, c: 22.5; below: there is no link.
  public var negotiatedRateCode: UInt8
  public var address: UInt64
  public var attachedAddress: UInt64
  public var invalidWords: UInt32
  public var disparityErrors: UInt32
  public var synchronizationLosses: UInt32
  public var resetProblems: UInt32

  init(port: UInt16, _ bytes: AnswerBytes) throws(MalformedAnswer) {
    relativeTargetPort = port
    identifier = try bytes.byte(1)
    negotiatedRateCode = try bytes.byte(5) & 0xf
    address = try bytes.bigEndian(8)
    attachedAddress = try bytes.bigEndian(16)
    invalidWords = try bytes.bigEndian(32)
    disparityErrors = try bytes.bigEndian(36)
    synchronizationLosses = try bytes.bigEndian(40)
    resetProblems = try bytes.bigEndian(44)
  }
}
