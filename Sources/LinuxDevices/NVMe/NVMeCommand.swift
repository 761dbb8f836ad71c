/// A command as a value: how it is written, and what its answer says.
public protocol NVMeCommand: Sendable {
  associatedtype Answer
  /// As the specification calls it.
  var name: String { get }
  var request: NVMeRequest { get }
  var data: CommandData { get }
  var timeout: Duration { get }
  func answer(to answer: NVMeAnswer) throws(MalformedAnswer) -> Answer
}

extension NVMeCommand {
  public var data: CommandData { .none }
  /// What the kernel gives to its own.
  public var timeout: Duration { .seconds(60) }
}

extension NVMeCommand where Answer == Void {
  public func answer(to answer: NVMeAnswer) throws(MalformedAnswer) {}
}

extension NVMeTransport {
  public func send<Command: NVMeCommand>(_ command: Command) throws(NVMeError) -> Command.Answer {
    do throws(NVMeFailure) {
      let answer = try execute(command.request, command.data, timeout: command.timeout)
      do throws(MalformedAnswer) {
        return try command.answer(to: answer)
      } catch {
        throw .malformed(error)
      }
    } catch {
      throw NVMeError(command.name, device: name, error)
    }
  }
}
