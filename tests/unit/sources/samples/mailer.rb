require "net/smtp"

module Courier
  # Sends letters.
  class Mailer < Base
    RETRIES = 3

    def initialize(host)
      @host = host
    end

    # Tries again when the server is busy.
    def deliver(letter)
      Net::SMTP.start(@host) { |smtp| smtp.send_message(letter.to_s, letter.from, letter.to) }
    rescue Net::SMTPServerBusy
      retry if (attempts += 1) < RETRIES
    end

    def self.default
      new("localhost")
    end
  end
end

def deliver_all(letters) = letters.each { |letter| Courier::Mailer.default.deliver(letter) }
