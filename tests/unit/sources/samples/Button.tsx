import { useState } from 'react';

type Props = {
    label: string;
    onPress: () => void;
};

export const Button = ({ label, onPress }: Props) => {
    const [pressed, setPressed] = useState(false);
    return <button aria-pressed={pressed} onClick={() => { setPressed(true); onPress(); }}>{label}</button>;
};
