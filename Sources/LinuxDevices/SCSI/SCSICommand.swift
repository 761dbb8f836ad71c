/// A command as a value: how it is written, and what its answer says.
public protocol SCSICommand: Sendable {
  associatedtype Answer
  /// As the standard calls it: "READ CAPACITY(16)".
  var name: String { get }
  /// The command descriptor block, 6 to 16 bytes.
  var block: [UInt8] { get }
  var data: CommandData { get }
  var timeout: Duration { get }
  func answer(to answer: SCSIAnswer) throws(MalformedAnswer) -> Answer
}

extension SCSICommand {
  /// What the kernel gives to disks, and far more than an answer from a device's memory takes: an error on another command
  /// may hold this one up.
  public var timeout: Duration { .seconds(30) }
}

extension SCSICommand where Answer == Void {
  public func answer(to answer: SCSIAnswer) throws(MalformedAnswer) {}
}

extension SCSITransport {
  /// How often a command is sent at most. A device holds one unit attention for each thing that happened, and tells one a
  /// command; there are about ten kinds.
  private var attempts: Int { 12 }

  /// Sends a command, again after each unit attention, and reads its answer.
  ///
  /// - Parameter noticed: learns of each unit attention, as no one hears of it again: a path learns so that its registration
  ///   was pre-empted.
  public func send<Command: SCSICommand>(
    _ command: Command, noticed: (SCSISense) -> Void = { _ in }
  ) throws(SCSIError) -> Command.Answer {
    var left = attempts
    while true {
      left -= 1
      do throws(SCSIFailure) {
        let answer = try execute(command.block, command.data, timeout: command.timeout)
        return try Self.decode(command, answer)
      } catch {
        if error.isUnitAttention, let sense = error.sense {
          noticed(sense)
          if left > 0 { continue }
        }
        throw SCSIError(command.name, device: name, error)
      }
    }
  }

  private static func decode<Command: SCSICommand>(
    _ command: Command, _ answer: SCSIAnswer
  ) throws(SCSIFailure) -> Command.Answer {
    do throws(MalformedAnswer) {
      return try command.answer(to: answer)
    } catch {
      throw .malformed(error)
    }
  }
}
