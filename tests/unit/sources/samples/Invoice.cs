using System;

namespace Billing.Core
{
    /// <summary>What a customer owes.</summary>
    [Serializable]
    public class Invoice : Document
    {
        private decimal _amount;

        public decimal Amount { get { return _amount; } set { _amount = value; } }

        public Invoice(decimal amount)
        {
            _amount = amount;
        }

        public override decimal Total() => Math.Round(_amount * 1.19m, 2);
    }

    public record Customer(string Name, int Number);
}
